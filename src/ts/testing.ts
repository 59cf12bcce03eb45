/**
 * The entry for tests: a gateway inside the page, a clock that the test moves, faults, and scenarios that any client can run. It has
 * no wasm, and nothing of it is in any other entry.
 */
export { VirtualClock, virtualClock } from "./testing-clock.js";
export { quotaExceeded, type TestConnection, type TestFrame, TestGateway, type TestGatewayOptions, testGateway, type TestHandler, type TestStorage } from "./testing-gateway.js";
export { runScenario, type Scenario, type ScenarioClient, type ScenarioOptions, type ScenarioOutcome, type ScenarioStep, type Tally } from "./testing-scenario.js";

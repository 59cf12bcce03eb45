// Read by tsc alone: the types are found through the installed package's own manifest.
import { Moorline, type Receipt } from "moorline";
import { Moorline as ByUrl } from "moorline/url";
import { Moorline as Inline } from "moorline/inline";
import { wsClient } from "moorline/nexus";
import { MoorLineElement } from "moorline/element";
import { Moorline as ActionCable } from "moorline/action-cable";
import { Moorline as OpenClaw } from "moorline/openclaw";
import { Moorline as JsonRpc } from "moorline/json-rpc";
import { Moorline as Hermes } from "moorline/hermes";
import { Moorline as Observing } from "moorline/observation";
import { type TestGateway, testGateway } from "moorline/testing";

export const receipts: Receipt[] = [Moorline, ByUrl, Inline].map((Line) => new Line("wss://gateway.example/").send({ type: "chat" }));
export const others: [boolean, HTMLElement] = [wsClient.connected, new MoorLineElement()];
export const states: string[] = [ActionCable, OpenClaw, JsonRpc, Hermes, Observing].map((Line) => new Line("wss://gateway.example/").state);
export const gateway: TestGateway = testGateway({ delivery: false });
// @ts-expect-error A tarball without types would let this pass.
new Moorline(5);

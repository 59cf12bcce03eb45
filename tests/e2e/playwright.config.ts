// How the end-to-end and the package tests run: one Chromium, told by environment variables where it and what is tested are.
// `cargo xtask test e2e` and `cargo xtask test pack` set them.
import { defineConfig } from "@playwright/test";
import type { Client } from "./cable/site.js";
import type { Name } from "./lifecycle/engine.js";

const executablePath = process.env["MOORLINE_CHROMIUM"];
if (!executablePath) throw new Error("MOORLINE_CHROMIUM is not set: type `cargo xtask test e2e`");

// A worker that forces colours and a caller who wants none make Node warn in every process that a test starts.
delete process.env["NO_COLOR"];

export default defineConfig<{ client: Client }, { engineName: Name }>({
  testDir: ".",
  outputDir: "test-results",
  workers: 2,
  retries: 0,
  fullyParallel: false,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    headless: true,
    video: "off",
    trace: "off",
    screenshot: "off",
    launchOptions: {
      executablePath,
      args: [
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-quic",
        // A gateway that is not known to be this machine's.
        "--host-resolver-rules=MAP elsewhere.test 127.0.0.1",
        "--disable-sync",
        "--enable-unsafe-swiftshader",
        "--use-angle=swiftshader",
      ],
    },
  },
  projects: [
    { name: "e2e", testMatch: "*.spec.ts", testIgnore: ["pack/**", "cable/**", "lifecycle/**", "soak/**"] },
    // One set of scenarios in three engines; lifecycle/engine.ts starts each of them.
    { name: "chromium", testDir: "./lifecycle", use: { engineName: "chromium" } },
    { name: "firefox", testDir: "./lifecycle", use: { engineName: "firefox" } },
    { name: "webkit", testDir: "./lifecycle", use: { engineName: "webkit" } },
    // One script over two imports, against a real Rails server.
    { name: "cable-rails", testDir: "./cable", testMatch: "consumer.spec.ts", timeout: 120_000, use: { client: "@rails/actioncable" } },
    { name: "cable-moorline", testDir: "./cable", testMatch: "*.spec.ts", timeout: 120_000, use: { client: "moorline/action-cable" } },
    { name: "cable-bench", testDir: "./cable", testMatch: "*.bench.ts", timeout: 600_000 },
    // Not a part of the tests: `cargo xtask soak` runs it for as long as it is told.
    { name: "soak", testDir: "./soak", testMatch: "*.spec.ts" },
    { name: "pack", testDir: "./pack", testMatch: "*.spec.ts", timeout: 180_000 },
  ],
});

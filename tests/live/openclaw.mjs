/**
 * A real OpenClaw gateway on loopback, with a model of ours behind it. `node openclaw.mjs [--version=2026.9.6] [--port=]
 * [--token=live-token] [--state=folder] [--minutes=60]` prints {"ready": port, …} or {"skipped": reason}; it ends by signal.
 * A line on stdin is a command: restart, reload, kill, stop, cont, go.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { startModel } from "./model.mjs";
import { openclaw, stateFolder } from "./place.mjs";
import { answers, freePort, isMain, launch, serveUntilSignal, until } from "./process.mjs";

export const VERSIONS = { 4: "2026.9.6", 3: "2026.5.7" };
const START_LIMIT = 180_000;

/** Everything that would reach beyond loopback is off; each line knows other words for it. */
function configOf({ version, port, token, model, workspace, log }) {
  const only = { id: "scripted", name: "Scripted", reasoning: false, input: ["text"], contextWindow: 2_000_000, maxTokens: 100_000 };
  const newer = version !== VERSIONS[3];
  return {
    gateway: { mode: "local", port, bind: "loopback", auth: { mode: "token", token }, controlUi: { enabled: false } },
    logging: { file: log },
    update: { checkOnStart: false },
    discovery: { mdns: { mode: "off" } },
    cron: { enabled: false },
    agents: { defaults: { workspace, skipBootstrap: true, model: { primary: "scripted/scripted" } } },
    models: {
      mode: "replace",
      ...(newer ? { catalogRefresh: { enabled: false } } : { pricing: { enabled: false } }),
      providers: {
        scripted: {
          baseUrl: `http://127.0.0.1:${model}/v1`,
          apiKey: "scripted",
          api: "openai-completions",
          models: [{ ...only, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
        },
      },
    },
  };
}

export async function startOpenclaw({ version = VERSIONS[4], port, token = "live-token", state, ...rest } = {}) {
  const { node, entry } = await openclaw(version);
  const { folder, remove } = await stateFolder(state);
  const model = await startModel({ port: Number(rest["model-port"] ?? 0) });
  const at = Number(port ?? (await freePort()));
  const home = path.join(folder, "home");
  const workspace = path.join(folder, "workspace");
  const config = path.join(folder, "openclaw.json");
  const log = path.join(folder, "gateway.log");
  await mkdir(home, { recursive: true });
  await mkdir(workspace, { recursive: true });
  await writeFile(config, JSON.stringify(configOf({ version, port: at, token, model: model.port, workspace, log: path.join(folder, "own.log") })));
  const env = {
    PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH}`,
    LANG: "C.UTF-8",
    HOME: home,
    OPENCLAW_STATE_DIR: path.join(folder, "state"),
    OPENCLAW_CONFIG_PATH: config,
    OPENCLAW_DISABLE_BONJOUR: "1",
    OPENCLAW_EXEC_SHELL_SNAPSHOT: "0",
    OPENCLAW_NO_AUTO_UPDATE: "1",
    OPENCLAW_NO_RESPAWN: "1",
    OPENCLAW_SKIP_CHANNELS: "1",
    OPENCLAW_SKIP_CRON: "1",
    DO_NOT_TRACK: "1",
    // What no setting turns off, such as the market of plugins, finds nobody.
    NODE_OPTIONS: `--import=${new URL("offline.mjs", import.meta.url)}`,
  };
  let gateway;
  const begin = async () => {
    const args = [entry, "gateway", "--port", String(at), "--bind", "loopback"];
    gateway = launch(node, args, { env, cwd: workspace, log });
    const ready = () => answers(`http://127.0.0.1:${at}/readyz`);
    await until(ready, { program: gateway, limit: START_LIMIT, what: `openclaw ${version}` });
  };
  const end = async () => {
    await gateway?.end(20_000);
    await model.end();
    await remove();
  };
  try {
    await begin();
  } catch (error) {
    await end();
    throw error;
  }
  return {
    port: at,
    token,
    version,
    model,
    log,
    end,
    get facts() {
      const url = `ws://127.0.0.1:${at}/`;
      return { server: `openclaw ${version}`, url, token, model: model.port, pid: gateway.pid, log };
    },
    commands: {
      /** An orderly stop and a new start; the gateway lets running answers finish first. */
      restart: async () => {
        await gateway.end(20_000);
        await begin();
      },
      /** Kills it and starts it anew. */
      kill: async () => {
        gateway.signal("SIGKILL");
        await gateway.ended;
        await begin();
      },
      /** Has it start anew by itself, in the same process: `shutdown`, 1012, then 1013 until it is there. */
      reload: async () => {
        if (version === VERSIONS[3]) throw new Error(`openclaw ${version} does not start anew by itself`);
        process.kill(gateway.pid, "SIGUSR2");
      },
      stop: async () => gateway.signal("SIGSTOP"),
      cont: async () => gateway.signal("SIGCONT"),
      go: async () => model.go(),
    },
  };
}

if (isMain(import.meta.url)) await serveUntilSignal(startOpenclaw);

/**
 * A real Hermes agent gateway on loopback, with a model of ours behind it. `node hermes.mjs [--version=0.19.0] [--port=]
 * [--token=live-token] [--state=folder] [--grace=20] [--busy=interrupt] [--minutes=60]` prints {"ready": port, …} or
 * {"skipped": reason}; it ends by signal. A line on stdin is a command: restart, kill, stop, cont, go.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { startModel } from "./model.mjs";
import { hermes, stateFolder } from "./place.mjs";
import { answers, freePort, isMain, launch, serveUntilSignal, until } from "./process.mjs";

export const VERSIONS = ["0.19.0", "0.17.0"];
const START_LIMIT = 180_000;

/** JSON is YAML too. A dangerous command is asked about, and what else would reach beyond loopback is off. */
const configOf = ({ model, busy, workspace }) => ({
  model: { default: "scripted", provider: "custom", base_url: `http://127.0.0.1:${model}/v1`, api_key: "scripted", context_length: 1_000_000 },
  model_catalog: { enabled: false },
  agent: { api_max_retries: 1, environment_probe: false },
  approvals: { mode: "manual" },
  compression: { enabled: false },
  display: { busy_input_mode: busy },
  memory: { memory_enabled: false, user_profile_enabled: false },
  security: { allow_lazy_installs: false },
  platform_toolsets: { cli: ["clarify", "terminal", "todo"] },
  terminal: { backend: "local", cwd: workspace },
});

export async function startHermes({ version = VERSIONS[0], port, token = "live-token", state, grace, busy = "interrupt", ...rest } = {}) {
  const { entry, python } = await hermes(version);
  const { folder, remove } = await stateFolder(state);
  const model = await startModel({ port: Number(rest["model-port"] ?? 0) });
  const at = Number(port ?? (await freePort()));
  const home = path.join(folder, "home");
  const workspace = path.join(folder, "workspace");
  const log = path.join(folder, "gateway.log");
  await mkdir(home, { recursive: true });
  await mkdir(workspace, { recursive: true });
  await writeFile(path.join(home, "config.yaml"), JSON.stringify(configOf({ model: model.port, busy, workspace })));
  // It would look for a newer release; this says that it has just done so.
  const looked = { ts: Math.floor(Date.now() / 1000), behind: 0, rev: null, ver: version };
  await writeFile(path.join(home, ".update_check"), JSON.stringify(looked));
  const nowhere = "http://127.0.0.1:9";
  const env = {
    PATH: `${path.dirname(python)}${path.delimiter}${process.env.PATH}`,
    LANG: "C.UTF-8",
    HOME: folder,
    HERMES_HOME: home,
    HERMES_DASHBOARD_SESSION_TOKEN: token,
    ...(grace !== undefined && { HERMES_TUI_WS_ORPHAN_REAP_GRACE_S: String(grace) }),
    HERMES_DISABLE_LAZY_INSTALLS: "1",
    PYTHONUNBUFFERED: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    // Whatever it still looks for outside is refused at once.
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    ALL_PROXY: nowhere,
    NO_PROXY: "127.0.0.1,localhost",
  };
  let gateway;
  const begin = async () => {
    const args = [entry, "dashboard", "--host", "127.0.0.1", "--port", String(at), "--no-open", "--skip-build"];
    gateway = launch(python, args, { env, cwd: workspace, log });
    const ready = () => answers(`http://127.0.0.1:${at}/api/status`);
    await until(ready, { program: gateway, limit: START_LIMIT, what: `hermes-agent ${version}` });
  };
  const end = async () => {
    await gateway?.end(10_000);
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
      const url = `ws://127.0.0.1:${at}/api/ws?token=${encodeURIComponent(token)}`;
      return { server: `hermes-agent ${version}`, url, token, model: model.port, pid: gateway.pid, log };
    },
    commands: {
      restart: async () => {
        await gateway.end(10_000);
        await begin();
      },
      /** Kills it and starts it anew. */
      kill: async () => {
        gateway.signal("SIGKILL");
        await gateway.ended;
        await begin();
      },
      stop: async () => gateway.signal("SIGSTOP"),
      cont: async () => gateway.signal("SIGCONT"),
      go: async () => model.go(),
    },
  };
}

if (isMain(import.meta.url)) await serveUntilSignal(startHermes);

/**
 * The development gateway that served this page: where its sockets are, and the controls by which it is made to fail.
 * Those obey only who sits at the gateway's own machine; elsewhere the page works, and its line is whole.
 */
const HEADERS = { "x-moorline-control": "1", "content-type": "application/json" };

export class Gateway {
  /** Where the fault proxy listens; `null` where the controls do not obey. */
  #proxy = null;

  async find() {
    const report = await this.control("faults", undefined, "GET").catch(() => null);
    if (report?.proxy) this.#proxy = report.proxy;
  }

  get obeys() {
    return this.#proxy !== null;
  }

  /** The address of a socket, through the fault proxy if that is wanted and there. */
  socket(path, { direct = false } = {}) {
    const url = new URL(path, location.href);
    if (!direct && this.obeys) url.host = this.#proxy;
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  async control(path, body = {}, method = "POST") {
    const answer = await fetch(`control/${path}`, { method, headers: HEADERS, ...(method === "POST" && { body: JSON.stringify(body) }) });
    if (!answer.ok) throw new Error(`the gateway's control ${path} answered ${answer.status}`);
    return answer.json();
  }
}

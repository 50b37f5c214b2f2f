/* A client of heartline.v1 for browsers and Node: see docs/heartline-v1.md.
 *
 *   const stream = new HeartlineStream("wss://host/", {
 *     channels: ["ticks"],
 *     onMessage: ({ channel, offset, data }) => ...,
 *     onGap: ({ channel, first, last, reason }) => ...,   // what will not come
 *     onStatus: ({ live, reason, silence }) => ...,       // live, or why not
 *   });
 *   stream.close();
 *
 * It tells within the server's announced bound that nothing is heard any more, dials
 * again with full jitter, and resumes each channel from its last offset.
 */
class HeartlineStream {
  constructor(url, options = {}) {
    this.home = this.url = url;
    this.options = options;
    this.Socket = options.WebSocket || globalThis.WebSocket;
    this.places = new Map((options.channels || []).map((name) => [name, null]));
    this.live = false;
    this.terms = { interval: 10, bound: 15 };
    this.attempt = 0;
    this.closed = false;
    this.lookedAt = HeartlineStream.now();
    this.lookEvery = options.lookEvery || 200;
    this.timer = setInterval(() => this.look(), this.lookEvery);
    this.dial();
  }

  static now() {
    return performance.now() / 1000;
  }

  subscribe(channel) {
    if (!this.places.has(channel)) this.places.set(channel, null);
    this.ask(channel);
  }

  unsubscribe(channel) {
    this.places.delete(channel);
    this.say({ type: "unsubscribe", channel });
  }

  send(data, channel) {
    return this.say({ type: "message", data, channel });
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.redial);
    this.drop("closed by us");
  }

  // --- one link after the other

  dial() {
    let socket;
    try {
      socket = new this.Socket(this.url, "heartline.v1");
    } catch (error) {
      if (this.url === this.home) throw error;
      this.url = this.home; // where a notice sent us is no address at all
      return this.dial();
    }
    this.socket = socket;
    this.heardAt = this.openedAt = HeartlineStream.now();
    this.asked = false;
    const mine = (act) => (event) => socket === this.socket && act(event);
    socket.onmessage = mine((event) => this.take(JSON.parse(event.data)));
    socket.onclose = mine((event) => this.lose(event.reason || `closed ${event.code}`));
    // Node's own WebSocket tells no close of a connection that never came about.
    socket.onerror = mine(() => this.lose("the connection failed"));
  }

  /* Give the link up at once: a closing handshake with the dead would never end. */
  drop(reason) {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.tell(false, reason);
  }

  lose(reason) {
    const useful = this.live && HeartlineStream.now() - this.openedAt > 5;
    if (!this.live) this.url = this.home; // where a notice sent us is nobody
    this.attempt = useful ? 1 : this.attempt + 1;
    this.drop(reason);
    if (this.closed) return;
    const most = Math.min(30, 0.25 * 2 ** this.attempt);
    this.redial = setTimeout(() => this.dial(), 1000 * most * Math.random());
  }

  /* Called often; a call that comes late means that we slept, not that they died. */
  look() {
    const now = HeartlineStream.now();
    const late = now - this.lookedAt > 2;
    this.lookedAt = now;
    if (!this.socket) return;
    const silence = now - this.heardAt;
    const next = silence + this.lookEvery / 1000;
    if (late) {
      this.heardAt = now - Math.min(silence, this.terms.bound / 2);
      this.say({ type: "beat" });
    } else if (next > this.terms.bound) {
      this.lose(`nothing heard for ${silence.toFixed(1)} s`);
    } else if (silence > (this.terms.interval + this.terms.bound) / 2 && !this.asked) {
      this.asked = true;
      this.say({ type: "beat" });
    }
  }

  // --- what is said and heard

  say(frame) {
    const open = this.socket && this.socket.readyState === 1;
    if (open) this.socket.send(JSON.stringify(frame));
    return Boolean(open);
  }

  ask(channel) {
    const place = this.places.get(channel);
    this.say({ type: "subscribe", channel, ...place });
  }

  take(frame) {
    this.heardAt = HeartlineStream.now();
    this.asked = false;
    const place = this.places.get(frame.channel);
    if (frame.type === "terms") {
      this.terms = frame;
      for (const channel of this.places.keys()) this.ask(channel);
      this.tell(true, "");
    } else if (frame.type === "subscribed" && place !== undefined) {
      if (place && place.epoch !== frame.epoch) {
        this.gap({ channel: frame.channel, first: place.offset + 1, reason: "epoch" });
      }
      if (!place || place.epoch !== frame.epoch) {
        const offset = place ? 0 : frame.offset;
        this.places.set(frame.channel, { epoch: frame.epoch, offset });
      }
    } else if (frame.type === "message") {
      if (place && frame.offset !== undefined) {
        if (frame.offset <= place.offset) return;
        const first = place.offset + 1;
        const last = frame.offset - 1;
        if (last >= first) this.gap({ channel: frame.channel, first, last, reason: "jump" });
        place.offset = frame.offset;
      }
      if (this.options.onMessage) this.options.onMessage(frame);
    } else if (frame.type === "gap") {
      if (place && frame.last > place.offset) {
        this.gap({ ...frame, first: Math.max(frame.first, place.offset + 1) });
        place.offset = frame.last;
      } else if (!frame.channel) this.gap(frame);
    } else if (frame.type === "notice") {
      if (frame.go) this.url = frame.go;
      if (this.options.onNotice) this.options.onNotice(frame);
    } else if (frame.type === "refused" && this.options.onRefused) {
      this.options.onRefused(frame);
    }
  }

  gap(gap) {
    if (this.options.onGap) this.options.onGap(gap);
  }

  tell(live, reason) {
    if (live === this.live) return;
    this.live = live;
    const silence = HeartlineStream.now() - this.heardAt;
    if (this.options.onStatus) this.options.onStatus({ live, reason, silence });
  }
}

if (typeof module !== "undefined") module.exports = { HeartlineStream };
else globalThis.HeartlineStream = HeartlineStream;

// The zoomable timeline: every instruction, unpacked from a deflated block, drawn as shares of each pixel's cycles.
(async () => {
  const block = document.getElementById("instructions"), panel = document.getElementById("zoom");
  if (!block || !panel || typeof DecompressionStream === "undefined") return;
  const bytes = Uint8Array.from(atob(block.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  const column = (n) => {
    const found = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let scale = 1, value = 0, byte;
      do { byte = packed[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      found[i] = value;
    }
    return found;
  };
  const counts = column(3);
  const [layer, run, idle, wait, cause, weights, reload, walk] = Array.from({ length: 8 }, () => column(counts[0]));
  const [readLayer, readKind, readGap, readLength] = Array.from({ length: 4 }, () => column(counts[1]));
  const [writeLayer, writeGap, writeLength] = Array.from({ length: 3 }, () => column(counts[2]));

  // Intervals of one state: starts, lengths, and the cycles covered before each.
  class Track {
    constructor(kind) { this.kind = kind; this.start = []; this.length = []; this.before = [0]; }
    add(start, length) {
      if (length <= 0) return;
      this.start.push(start); this.length.push(length);
      this.before.push(this.before[this.before.length - 1] + length);
    }
    until(cycle) {
      let low = 0, high = this.start.length;
      while (low < high) { const m = (low + high) >> 1; if (this.start[m] <= cycle) low = m + 1; else high = m; }
      return low === 0 ? 0 : this.before[low - 1] + Math.min(this.length[low - 1], cycle - this.start[low - 1]);
    }
  }
  const STATES = ["compute", "reload", "weights", "input", "output", "dispatch", "turn", "start-up"];
  const KINDS = ["input", "weights", "parameters", "program", "move"];
  const WORDS = JSON.parse(document.getElementById("words").textContent);
  const tracks = Object.fromEntries(STATES.map((s) => [s, new Track(s)]));
  const starts = new Float64Array(counts[0]), begins = [], ends = [];
  let cycle = 0;
  for (let i = 0; i < counts[0]; i++) {
    starts[i] = cycle;
    tracks[i ? "dispatch" : "start-up"].add(cycle, idle[i]);
    cycle += idle[i];
    tracks.turn.add(cycle, 1);
    cycle += 1;
    if (cause[i]) tracks[cause[i] === 1 ? "input" : "output"].add(cycle, wait[i]);
    cycle += wait[i];
    tracks.weights.add(cycle, weights[i]);
    cycle += weights[i];
    tracks.reload.add(cycle, reload[i]);
    cycle += reload[i];
    tracks.turn.add(cycle, 1);
    cycle += 1;
    tracks.compute.add(cycle, walk[i]);
    cycle += walk[i];
    const n = layer[i];
    if (begins[n] === undefined) begins[n] = starts[i];
    ends[n] = cycle;
  }
  const total = Number(panel.dataset.total);
  tracks.turn.add(cycle, total - cycle);
  const unit = (kinds, kindOf, gaps, lengths) => {
    const found = kinds.map((k) => new Track(k)), from = new Float64Array(lengths.length);
    let now = 0;
    for (let i = 0; i < lengths.length; i++) {
      now += gaps[i]; from[i] = now;
      found[kindOf(i)].add(now, lengths[i]);
      now += lengths[i];
    }
    return [found, from];
  };
  const [reads, readStart] = unit(KINDS, (i) => readKind[i], readGap, readLength);
  const [writes, writeStart] = unit(["store"], () => 0, writeGap, writeLength);
  const LANES = [
    { name: "array", top: 16, height: 62, tracks: STATES.map((s) => tracks[s]) },
    { name: "reads", top: 104, height: 26, tracks: reads },
    { name: "writes", top: 136, height: 18, tracks: writes },
  ];

  const canvas = panel.querySelector("canvas"), said = panel.querySelector("output"), chooser = panel.querySelector("select");
  const pen = canvas.getContext("2d"), LEFT = 52;
  let from = 0, to = total, pointed = null, asked = false;
  const least = 40;
  const show = (a, b) => {
    const span = Math.min(total, Math.max(least, b - a));
    from = Math.max(0, Math.min(total - span, a));
    to = from + span;
    if (!asked) { asked = true; requestAnimationFrame(draw); }
  };
  const last = (array, value) => {
    let low = 0, high = array.length;
    while (low < high) { const m = (low + high) >> 1; if (array[m] <= value) low = m + 1; else high = m; }
    return low - 1;
  };
  const round = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((m) => m * power).find((v) => v >= value);
  };
  function draw() {
    asked = false;
    const style = getComputedStyle(document.documentElement), colour = (n) => style.getPropertyValue(`--${n}`).trim();
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "11px system-ui, sans-serif"; pen.textBaseline = "middle";
    const pixels = Math.max(1, Math.floor(width - LEFT)), step = (to - from) / pixels;
    const mark = Math.max(1, round((to - from) / 6));
    for (let value = Math.ceil(from / mark) * mark; value <= to; value += mark) {
      const x = LEFT + (value - from) / step;
      pen.fillStyle = colour("faint"); pen.fillRect(x, 12, 1, height - 12);
      pen.fillStyle = colour("soft"); pen.textAlign = x > width - 60 ? "right" : "left";
      pen.fillText(value.toLocaleString("en"), x + (x > width - 60 ? -3 : 3), 6);
    }
    for (const lane of LANES) {
      pen.fillStyle = colour("soft"); pen.textAlign = "left";
      pen.fillText(lane.name, 0, lane.top + lane.height / 2);
      const filled = new Float64Array(pixels);
      for (const track of lane.tracks) {
        if (!track.start.length) continue;
        pen.fillStyle = colour(track.kind === "start-up" ? "start" : track.kind);
        let before = track.until(from);
        for (let x = 0; x < pixels; x++) {
          const until = track.until(from + (x + 1) * step), share = (until - before) / step;
          before = until;
          if (share <= 0) continue;
          const tall = share * lane.height;
          pen.fillRect(LEFT + x, lane.top + lane.height - filled[x] - tall, 1, tall);
          filled[x] += tall;
        }
      }
    }
    layers(colour, pixels, step);
    if (pointed !== null) {
      pen.fillStyle = colour("text");
      pen.fillRect(LEFT + (pointed - from) / step, 12, 1, height - 12);
    }
  }
  function layers(colour, pixels, step) {
    pen.textAlign = "center";
    pen.fillStyle = colour("soft");
    pen.fillText("layer", 16, 91);
    let x = 0;
    while (x < pixels) {
      const n = layer[Math.max(0, last(starts, from + (x + .5) * step))];
      let end = x + 1;
      while (end < pixels && layer[Math.max(0, last(starts, from + (end + .5) * step))] === n) end++;
      pen.fillStyle = colour(n % 2 ? "turn" : "line");
      pen.fillRect(LEFT + x, 84, end - x, 14);
      if (end - x > 16) { pen.fillStyle = colour("text"); pen.fillText(String(n + 1), LEFT + (x + end) / 2, 91.5); }
      x = end;
    }
  }
  const number = (value) => Math.round(value).toLocaleString("en");
  const name = (n) => `layer ${n + 1}, ${WORDS.layers[n]}`;
  function tell() {
    if (pointed === null) { said.textContent = `cycles ${number(from)} to ${number(to)}`; return; }
    const parts = [`cycle ${number(pointed)}`], i = last(starts, pointed);
    if (i >= 0) {
      const causes = [[idle[i], i ? "dispatch" : "start-up"], [wait[i], cause[i] === 1 ? "input" : "output"],
        [weights[i], "weights"], [reload[i], "reload"], [walk[i], "compute"]].filter(([n]) => n > 0);
      parts.push(`${run[i] ? "RUN" : "CONFIG"} of ${name(layer[i])}: ` +
        causes.map(([n, k]) => `${WORDS.states[k]} ${number(n)}`).join(", "));
    }
    const r = last(readStart, pointed);
    if (r >= 0 && pointed < readStart[r] + readLength[r])
      parts.push(`reads ${WORDS.transfers[KINDS[readKind[r]]]} for ${name(readLayer[r])}, ${number(readLength[r])} cycles`);
    const w = last(writeStart, pointed);
    if (w >= 0 && pointed < writeStart[w] + writeLength[w])
      parts.push(`writes ${name(writeLayer[w])}, ${number(writeLength[w])} cycles`);
    said.textContent = parts.join("; ");
  }
  const cycleAt = (event) => from + Math.max(0, event.offsetX - LEFT) / Math.max(1, canvas.clientWidth - LEFT) * (to - from);
  const zoom = (factor, centre) => { chooser.value = ""; show(centre - (centre - from) * factor, centre + (to - centre) * factor); tell(); };
  const middle = () => pointed ?? (from + to) / 2;
  const pan = (share) => { chooser.value = ""; const d = share * (to - from); show(from + d, to + d); tell(); };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : .8, cycleAt(event));
  }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, from, to]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      const d = (held[0] - event.clientX) / Math.max(1, canvas.clientWidth - LEFT) * (held[2] - held[1]);
      show(held[1] + d, held[2] + d);
    }
    pointed = cycleAt(event); show(from, to); tell();
  });
  canvas.addEventListener("pointerleave", () => { pointed = null; show(from, to); });
  canvas.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: () => pan(-.15), ArrowRight: () => pan(.15), "+": () => zoom(.5, middle()),
      "=": () => zoom(.5, middle()), "-": () => zoom(2, middle()), Home: () => { show(0, total); tell(); } };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  const acts = { in: () => zoom(.5, middle()), out: () => zoom(2, middle()), back: () => pan(-.5), on: () => pan(.5),
    all: () => { chooser.value = ""; pointed = null; show(0, total); tell(); } };
  for (const button of panel.querySelectorAll("button"))
    button.addEventListener("click", acts[button.dataset.act]);
  const go = (n) => { const edge = .03 * (ends[n] - begins[n]); pointed = null; show(begins[n] - edge, ends[n] + edge); tell(); };
  WORDS.layers.forEach((text, n) => {
    if (begins[n] === undefined) return;
    chooser.append(new Option(`${n + 1}  ${text}`, String(n)));
  });
  chooser.addEventListener("change", () => { if (chooser.value !== "") go(Number(chooser.value)); });
  for (const row of document.querySelectorAll("[data-layer]")) {
    const n = Number(row.dataset.layer) - 1;
    if (begins[n] === undefined) continue;
    row.style.cursor = "zoom-in";
    row.addEventListener("click", () => { chooser.value = String(n); go(n); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(from, to));
  panel.hidden = false;
  new ResizeObserver(() => show(from, to)).observe(canvas);
  tell();
  panel.dataset.ready = "yes";
})();

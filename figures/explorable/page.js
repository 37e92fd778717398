// The page: sliders, a worker that computes, and pictures of what it sends back.
"use strict";

const Page = (() => {
  const at = (id) => document.getElementById(id);
  const STORED = JSON.parse(at("stored").textContent);
  const MANY = [10, 20, 30, 50, 70, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 900, 1000];
  const EPS = {
    l2: { max: 2, step: 0.05, value: 1, digits: 2 },
    linf: { max: 0.2, step: 0.005, value: 0.1, digits: 3 },
    l0: { max: 10, step: 0.5, value: 5, digits: 1 }, // percent of the numbers
  };
  const SLIDERS = {
    d: {
      name: "d, numbers in a point",
      min: 20,
      max: 300,
      step: 10,
      value: 300,
      hint: "More numbers leave points less in common.",
    },
    N: {
      name: "N, points",
      min: 10,
      max: 200,
      step: 10,
      value: 100,
      hint: "More points share one pattern.",
    },
    N_adv: {
      name: "N_adv, moved noise points",
      min: 0,
      max: MANY.length - 1,
      step: 1,
      value: MANY.indexOf(600),
      hint: "Each carries one faint copy of the pattern.",
    },
    eps: { name: "eps, size of the moves", min: 0, ...EPS.l2, hint: "" },
    gamma: {
      name: "gamma, slope below zero",
      min: 0.01,
      max: 1,
      step: 0.01,
      value: 0.01,
      hint: "A unit passes on gamma times its sum where that is negative. At 1 the network is linear.",
    },
  };
  const START = { d: 300, N: 100, N_adv: 600, norm: "l2", eps: 1, gamma: 0.01 };
  const TRIES = {
    "Start again": START,
    "No moves": { ...START, eps: 0 },
    "Few noise points": { ...START, N_adv: 30 },
    "Tiny moves": { ...START, eps: 0.2 },
    "Too many points": { ...START, d: 100, N: 200 },
    "Change 15 of 300 numbers": { ...START, norm: "l0", eps: 5 },
    "A linear network": { ...START, gamma: 1 },
  };
  const NAMES = { standard: "standard", adversarial: "adversarial", control: "noise" };

  let seed = 0;
  let request = 0;
  let asked = 0; // when, in milliseconds
  let shown = null;
  let before = null; // the last whole picture of other settings
  let whole = null;
  const trail = [];

  // --- Settings -----------------------------------------------------------------------------------

  const norm = () => document.querySelector("input[name=norm]:checked").value;

  function settings() {
    const value = (key) => Number(at(key).value);
    const [d, share] = [value("d"), value("eps")];
    const eps = norm() === "l0" ? Math.round((share / 100) * d) : share;
    return {
      d,
      N: value("N"),
      N_adv: MANY[value("N_adv")],
      eps,
      norm: norm(),
      gamma: value("gamma"),
      seed,
    };
  }

  // What stands beside a slider, and is read out with it
  function say() {
    const config = settings();
    const size = {
      l2: `${config.eps.toFixed(2)}; length of a noise point: ${Math.sqrt(config.d / 3).toFixed(1)}`,
      linf: `${config.eps.toFixed(3)} of numbers up to 1`,
      l0: `${at("eps").value} %, ${config.eps} of ${config.d} numbers`,
    };
    const texts = {
      d: config.d,
      N: config.N,
      N_adv: config.N_adv,
      eps: size[config.norm],
      gamma: config.gamma,
    };
    for (const [key, text] of Object.entries(texts)) {
      at(`${key}-value`).textContent = text;
      at(key).setAttribute("aria-valuetext", text);
    }
  }

  // The slider of the size has a range for each norm
  function fitSize() {
    const { max, step, value } = EPS[norm()];
    Object.assign(at("eps"), { max, step, value });
  }

  function set({ norm: chosen, N_adv, ...rest }) {
    document.querySelector(`input[value=${chosen}]`).checked = true;
    fitSize();
    at("N_adv").value = MANY.indexOf(N_adv);
    for (const [key, value] of Object.entries(rest)) at(key).value = value;
    ask();
  }

  function build() {
    for (const [key, { name, hint, ...range }] of Object.entries(SLIDERS)) {
      const one = document.createElement("div");
      one.className = "slider";
      one.innerHTML = `<label for="${key}">${name}</label><output id="${key}-value" for="${key}"></output><input type="range" id="${key}">${hint && `<p class="hint" id="${key}-hint">${hint}</p>`}`;
      at("sliders").append(one);
      const { min, max, step, value } = range;
      Object.assign(at(key), { min, max, step, value });
      if (hint) at(key).setAttribute("aria-describedby", `${key}-hint`);
      at(key).addEventListener("input", ask);
    }
    for (const one of document.querySelectorAll("input[name=norm]")) {
      one.addEventListener("change", () => (fitSize(), ask()));
    }
    const button = (name, act) => {
      const one = document.createElement("button");
      Object.assign(one, { type: "button", textContent: name, onclick: act });
      at("tries").append(one);
    };
    for (const [name, config] of Object.entries(TRIES)) button(name, () => set(config));
    button("New random draw", () => ((seed += 1), ask()));
    for (const [key, name] of Object.entries(NAMES)) {
      at("bars").insertAdjacentHTML(
        "beforeend",
        `<div class="bar"><span id="${key}-name">${name} network</span><div class="track ${key}"><i></i>${key === "adversarial" ? '<b class="tick"></b>' : ""}</div><span class="number" id="${key}-share"></span></div>`,
      );
    }
    at("about-stored").textContent = about();
    const [quick, whole] = [Experiment.ROUNDS[0], Experiment.ROUNDS.at(-1)];
    const numbers = {
      hidden: Experiment.HIDDEN,
      epochs: whole.epochs,
      first: quick.epochs,
      most: quick.most,
    };
    for (const one of document.querySelectorAll("[data-number]")) {
      one.textContent = numbers[one.dataset.number];
    }
  }

  function about() {
    const most = (key) => Math.max(...STORED.map((one) => one[key])).toLocaleString("en");
    const off = (one) => Math.abs(one.predicted - one.measured);
    const mean = STORED.reduce((sum, one) => sum + off(one), 0) / STORED.length;
    const far = STORED.reduce((worst, one) => (off(one) > off(worst) ? one : worst));
    return `Grey marks are ${STORED.length} stored runs of this project on the paper's own scale, up to d = ${most("d")} numbers in a point and ${most("N_adv")} noise points. Prediction and outcome differ by ${Words.points(mean)} on average. Furthest off, by ${Words.points(off(far))}, is ${Words.NORMS[far.norm]} at d = ${far.d} and N = ${far.N}.`;
  }

  // --- Computing ----------------------------------------------------------------------------------

  const code = ["engine", "experiment", "worker"].map((id) => at(id).textContent).join("\n");
  const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));

  function ask() {
    say();
    request += 1;
    asked = performance.now();
    if (whole) before = whole;
    at("saying").setAttribute("aria-busy", "true");
    worker.postMessage({ id: request, config: settings() });
  }

  worker.onmessage = ({ data: { id, picture } }) => {
    if (id !== request) return;
    const first = shown?.id !== id;
    shown = { id, picture };
    show(picture);
    if (first) requestAnimationFrame(() => setTimeout(() => measure(id))); // once it is painted
    if (picture.last) {
      whole = picture;
      trail.push({
        config: picture.config,
        predicted: picture.predicted,
        measured: picture.natural.adversarial,
      });
      if (trail.length > 40) trail.shift();
      at("saying").setAttribute("aria-busy", "false");
    }
  };

  const measure = (id) => {
    if (id === request) performance.measure("answer", { start: asked, end: performance.now() });
  };

  // --- Pictures -----------------------------------------------------------------------------------

  function show(picture) {
    const { config } = picture;
    const lines = Words.whatYouSee(config, picture, before);
    at("saying").replaceChildren(...lines.map((line) => paragraph(line)));
    const look = `Quick look: ${picture.epochs} passes, ${picture.used} of ${config.N_adv} noise points.`;
    const better = `${picture.epochs} passes over all ${config.N_adv} noise points.`;
    const now = picture.used < config.N_adv ? look : better;
    at("status").textContent = picture.last ? `Done. ${now}` : `${now} Refining …`;
    for (const key of Object.keys(NAMES)) {
      at(`${key}-share`).textContent = Words.percent(picture.natural[key]);
      document.querySelector(`.track.${key} i`).style.width = `${100 * picture.natural[key]}%`;
    }
    document.querySelector(".track .tick").style.left = `${100 * picture.predicted}%`;
    const { adversarial, control } = picture.natural;
    const [got, said, noise] = [adversarial, picture.predicted, control].map(Words.percent);
    at("brief").textContent = `Adversarial ${got}, predicted ${said}, noise ${noise}`;
    at("on-the-map").textContent = Words.onTheMap(picture);
    at("about-effects").textContent = Words.effects(picture);
    Drawing.decisionMap(at("map"), picture);
    Drawing.effects(at("effects"), picture);
    Drawing.curve(at("curve"), picture, trail);
    Drawing.agreement(at("agreement"), picture, trail, STORED);
    showPixels(picture);
  }

  function paragraph(text) {
    const one = document.createElement("p");
    one.textContent = text;
    return one;
  }

  const largest = (values) => values.reduce((most, one) => Math.max(most, Math.abs(one)), 0) || 1;

  // A square with its caption; `words` for those who do not see it
  function square(parent, values, most, caption, words) {
    const one = document.createElement("figure");
    one.innerHTML = `<canvas role="img"></canvas><figcaption></figcaption>`;
    one.querySelector("canvas").setAttribute("aria-label", words);
    one.querySelector("figcaption").textContent = caption;
    parent.append(one);
    Drawing.pixels(one.querySelector("canvas"), values, shown.picture.width, most);
  }

  function sign(parent, text) {
    const one = document.createElement("span");
    Object.assign(one, { className: "sign", textContent: text });
    one.setAttribute("aria-hidden", "true");
    parent.append(one);
  }

  // How alike moves are, measured on those that are drawn
  function alike([[, eta, , y], ...others]) {
    const said = others.map(([, one, , target]) => {
      const likeness = Words.signed(Experiment.cosine(eta, one));
      return `${target === y ? "to the same target" : "to different targets"} ${likeness}`;
    });
    return ` Two moves have likeness: ${said.join(", ")}.`;
  }

  function showPixels({ config, examples, directions, likeness }) {
    at("examples").replaceChildren();
    const most = Math.max(...examples.map(([, eta]) => largest(eta)));
    const times = config.eps === 0 ? 1 : 1 / most;
    at("stronger").textContent =
      times > 1.5 ? ` Moves are drawn ${times.toFixed(0)} times stronger.` : "";
    const moved = config.eps > 0 && examples.length > 1;
    at("alike").textContent = moved ? alike(examples) : "";
    for (const [noise, eta, result, y] of examples) {
      const line = document.createElement("div");
      line.className = "line-of-squares";
      at("examples").append(line);
      const target = y > 0 ? "circle" : "triangle";
      square(line, noise, 1, "noise", "a noise point as pixels");
      sign(line, "+");
      square(line, eta, most, `move to ${target}`, `its move to ${target}`);
      sign(line, "=");
      square(line, result, 1, "moved noise", `the moved noise point, learned as ${target}`);
    }
    at("patterns").replaceChildren();
    for (const [key, name] of Object.entries(NAMES)) {
      const alike = key === "standard" ? "" : `, likeness ${Words.signed(likeness[key])}`;
      const words = `pattern of the ${name} network${alike}`;
      square(at("patterns"), directions[key], largest(directions[key]), `${name}${alike}`, words);
    }
  }

  build();
  ask();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => shown && showPixels(shown.picture));

  return { settings, shown: () => shown };
})();

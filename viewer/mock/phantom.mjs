// Pictures by formula: a head, a chest, an abdomen. Not anatomy, but every
// slice differs from its neighbours, so that a test can tell them apart.

const ellipse = (x, y, cx, cy, rx, ry) => {
  const a = (x - cx) / rx;
  const b = (y - cy) / ry;
  return a * a + b * b;
};

// A repeatable grain of about ±n.
const grains = Float32Array.from({ length: 65_536 }, (_, i) => {
  const h = Math.sin(i * 12.9898) * 43758.5453;
  return (h - Math.floor(h) - 0.5) * 2;
});
function grain(x, y, z, n) {
  return grains[(Math.imul(x * 97, 73_856_093) ^ Math.imul(y * 97, 19_349_663) ^ Math.imul(z * 7, 83_492_791)) & 65_535] * n;
}

/** Hounsfield units of a head at (x, y, z) in mm, z from 0 (base) to 150 (vertex). */
function head(x, y, z) {
  const t = Math.min(1, Math.max(0, z / 150));
  const r = Math.sqrt(Math.max(0.05, 1 - (t * 0.92) ** 2.4));
  const outer = ellipse(x, y, 0, 0, 78 * r, 96 * r);
  if (outer > 1) return -1000;
  const skull = ellipse(x, y, 0, 0, 73 * r, 91 * r);
  if (skull > 1) return 40 + grain(x, y, z, 10);
  const inner = ellipse(x, y, 0, 0, 66 * r, 84 * r);
  if (inner > 1) return 900 + grain(x, y, z, 60);
  let hu = 36 + grain(x, y, z, 5);
  if (inner > 0.88) hu += 4;
  hu += 3 * Math.sin(Math.atan2(y, x) * 14 + z / 9) * (inner > 0.6 ? 1 : 0);
  if (Math.abs(x) < 1.2 && inner < 0.98) hu = 62;
  if (t > 0.38 && t < 0.72) {
    const s = 1 - Math.abs(t - 0.55) * 4;
    for (const side of [-1, 1]) {
      if (ellipse(x * 1.0 - side * (10 + 4 * s), y + 22 - 3 * side * 0, 0, 0, 6 * s + 2, 20 * s + 4) < 1) hu = 6;
      if (ellipse(x - side * (14 + 4 * s), y - 20, 0, 0, 5 * s + 1.5, 16 * s + 3) < 1) hu = 6;
    }
  }
  // Early ischaemia on the patient's left (the right of the picture).
  if (t > 0.42 && t < 0.7 && ellipse(x, y, 44, 4, 17, 26) < 1) hu -= 9;
  if (t < 0.2) {
    for (const side of [-1, 1]) if (ellipse(x, y, side * 30, -56, 13, 14) < 1) hu = -950;
    if (ellipse(x, y, 0, 30, 26, 14) < 1) hu = 600 + grain(x, y, z, 120);
  }
  return hu;
}

function abdomen(x, y, z) {
  const outer = ellipse(x, y, 0, 0, 165, 118);
  if (outer > 1) return -1000;
  if (outer > 0.8) return -100 + grain(x, y, z, 10);
  let hu = 45 + grain(x, y, z, 12);
  const t = z / 200;
  if (ellipse(x, y, -70, -15, 70 - 20 * t, 72 - 30 * t) < 1) hu = 62 + grain(x, y, z, 10);
  if (ellipse(x, y, 95, 5, 28, 40) < 1) hu = 55 + grain(x, y, z, 10);
  if (ellipse(x, y, 40, -50, 45, 26 + 10 * Math.sin(z / 20)) < 1) hu = -60 + grain(x, y, z, 40);
  for (const side of [-1, 1]) if (ellipse(x, y, side * 62, 50, 24, 30) < 1) hu = 35 + grain(x, y, z, 10);
  const spine = ellipse(x, y, 0, 70, 24, 22);
  if (spine < 1) hu = spine > 0.75 ? 600 : 220 + grain(x, y, z, 60);
  if (ellipse(x, y, 8, 36, 11, 11) < 1) hu = 180;
  if (ellipse(x, y, -14, 34, 12, 9) < 1) hu = 130;
  if (ellipse(x, y, -80, -25, 14, 14) < 1 && t > 0.3 && t < 0.6) hu = 20;
  return hu;
}

function chest(x, y) {
  let v = 900;
  const body = ellipse(x, y, 0, 20, 185, 230);
  if (body > 1) return 60;
  v = 2300 - 700 * body;
  for (const side of [-1, 1]) {
    const lung = ellipse(x, y, side * 82, 0, 66, 128);
    if (lung < 1) v = 900 + 700 * lung ** 3 + 120 * Math.sin(y / 9 + (x * side) / 30) ** 8;
  }
  if (ellipse(x, y, 30, 52, 72, 78) < 1) v = Math.max(v, 2500);
  if (Math.abs(x) < 20) v = Math.max(v, 2600 + 120 * Math.sin(y / 7));
  for (let rib = 0; rib < 9; rib++) {
    const ry = -120 + rib * 30 + (x * x) / 340;
    if (Math.abs(y - ry) < 4 && Math.abs(x) < 160) v += 260;
  }
  if (ellipse(x, y, -80, 50, 26, 22) < 1) v += 420;
  return v + grain(x, y, 1, 30);
}

function brainMR(x, y, z) {
  const hu = head(x, y, z);
  if (hu <= -900) return 4 + Math.abs(grain(x, y, z, 4));
  if (hu > 300) return 60 + grain(x, y, z, 10);
  if (hu < 12) return 1150 + grain(x, y, z, 20);
  return 420 + (hu - 36) * -9 + grain(x, y, z, 16);
}

/** The bodies a series can be of: the sample at a point in mm, and how it is stored. */
export const bodies = {
  head: { at: head, intercept: -1024, low: 0, high: 4095 },
  abdomen: { at: abdomen, intercept: -1024, low: 0, high: 4095 },
  chest: { at: chest, intercept: 0, low: 0, high: 4095 },
  brain: { at: brainMR, intercept: 0, low: 0, high: 4095 },
};

/** One frame as little-endian unsigned 16 bit. */
export function frame(body, rows, columns, spacing, z) {
  const { at, intercept, low, high } = bodies[body];
  const out = new Uint16Array(rows * columns);
  for (let j = 0; j < rows; j++) {
    for (let i = 0; i < columns; i++) {
      const v = Math.round(at((i - columns / 2) * spacing, (j - rows / 2) * spacing, z) - intercept);
      out[j * columns + i] = Math.min(high, Math.max(low, v));
    }
  }
  return Buffer.from(out.buffer);
}

/**
 * Sky and water at dusk: two shaders that share one sky, so that the sea mirrors what is above it and the horizon has
 * no seam. Also how high the water stands at a place, for what floats.
 */
import * as THREE from "three";

export const WATER_LEVEL = -1.15;
export const SUN = new THREE.Vector3(-0.3, 0.045, -1).normalize();
/** What far things fade into. */
export const HAZE = "#8c6a8d";

/** Waves as [direction x, direction z, length factor, speed, height]; the shader is made from the same figures. */
const WAVES = [
  [0.8, 0.6, 0.34, 0.9, 0.1],
  [-0.5, 0.86, 0.55, 1.25, 0.07],
  [0.2, -0.98, 0.95, 1.7, 0.035],
];

/** Height of the water at (x, z). */
export function swell(x, z, time) {
  return WAVES.reduce((sum, [dx, dz, k, speed, height]) => sum + height * Math.sin((dx * x + dz * z) * k + time * speed), WATER_LEVEL);
}

const number = (value) => value.toFixed(3);
const WAVE_SUM = WAVES.map(
  ([dx, dz, k, speed, height]) =>
    `${number(height)} * sin((${number(dx)} * p.x + ${number(dz)} * p.y) * ${number(k)} + time * ${number(speed)})`,
).join(" + ");

const SKY = /* glsl */ `
  uniform vec3 sun;
  uniform vec3 gold, rose, violet, night, glare;
  vec3 skyColor(vec3 d) {
    float h = max(d.y, 0.0);
    float facing = dot(normalize(d.xz + 0.0001), normalize(sun.xz)) * 0.5 + 0.5;
    vec3 low = mix(rose * 0.5, gold, facing * facing * facing);
    vec3 c = mix(low, rose, smoothstep(0.0, 0.11, h) * 0.9);
    c = mix(c, violet, smoothstep(0.03, 0.22, h));
    c = mix(c, night, smoothstep(0.12, 0.5, h));
    c *= mix(0.55, 1.0, facing);
    float s = max(dot(d, sun), 0.0);
    float s4 = s * s * s * s;
    return c + glare * (s4 * s4 * 0.1 + exp2((s - 1.0) * 130.0) * 0.3);
  }
`;

function skyUniforms() {
  const color = (value) => ({ value: new THREE.Color(value) });
  return {
    sun: { value: SUN },
    gold: color("#f7a76c"),
    rose: color("#cf7488"),
    violet: color("#575093"),
    night: color("#1c2557"),
    glare: color("#ff9a55"),
  };
}

export function makeSky() {
  const material = new THREE.ShaderMaterial({
    side: THREE.BackSide,
    depthWrite: false,
    uniforms: skyUniforms(),
    vertexShader: /* glsl */ `
      varying vec3 way;
      void main() {
        way = position;
        gl_Position = projectionMatrix * mat4(mat3(viewMatrix)) * vec4(position, 1.0);
        gl_Position.z = gl_Position.w * 0.99999;
      }
    `,
    fragmentShader: /* glsl */ `
      varying vec3 way;
      ${SKY}
      float hash(vec2 p) { return fract(sin(dot(p, vec2(41.3, 289.1))) * 43758.5453); }
      void main() {
        vec3 d = normalize(way);
        vec3 c = skyColor(d);
        float bank = sin(d.x * 5.0 + d.y * 34.0) + sin(d.x * 11.0 - d.y * 61.0 + 1.3) * 0.5 + sin(d.z * 7.0 + d.y * 83.0) * 0.4;
        float cloud = smoothstep(0.55, 1.7, bank) * smoothstep(0.03, 0.10, d.y) * smoothstep(0.40, 0.14, d.y);
        c = mix(c, c * vec3(0.80, 0.70, 0.86) + vec3(0.10, 0.025, 0.03), cloud * 0.6);
        c = mix(c, vec3(1.35, 0.66, 0.27), smoothstep(0.99935, 0.9995, dot(d, sun)) * smoothstep(-0.004, 0.004, d.y));
        vec2 grid = d.xz / (abs(d.y) + 0.35) * 70.0;
        float star = step(0.988, hash(floor(grid))) * smoothstep(0.36, 0.0, length(fract(grid) - 0.5));
        c += star * smoothstep(0.16, 0.5, d.y) * 0.7 * hash(floor(grid) + 7.0);
        gl_FragColor = vec4(c, 1.0);
        #include <tonemapping_fragment>
        #include <colorspace_fragment>
      }
    `,
  });
  const sky = new THREE.Mesh(new THREE.SphereGeometry(50, 24, 16), material);
  sky.frustumCulled = false;
  sky.renderOrder = -2;
  return sky;
}

/** `lamps` are [x, y, z, colour]: they are mirrored in the water. */
export function makeWater(lamps) {
  const uniforms = {
    ...skyUniforms(),
    time: { value: 0 },
    deep: { value: new THREE.Color("#123047") },
    shallow: { value: new THREE.Color("#2d5f72") },
    lampAt: { value: lamps.map(([x, y, z]) => new THREE.Vector3(x, y, z)) },
    lampColor: { value: lamps.map(([, , , color]) => new THREE.Color(color)) },
  };
  const material = new THREE.ShaderMaterial({
    uniforms,
    vertexShader: /* glsl */ `
      uniform float time;
      varying vec3 at;
      varying vec3 haze;
      ${SKY}
      void main() {
        vec3 world = (modelMatrix * vec4(position, 1.0)).xyz;
        vec2 p = world.xz;
        world.y += ${WAVE_SUM};
        at = world;
        vec3 away = world - cameraPosition;
        haze = skyColor(normalize(vec3(away.x, length(away.xz) * 0.015, away.z)));
        gl_Position = projectionMatrix * viewMatrix * vec4(world, 1.0);
      }
    `,
    fragmentShader: /* glsl */ `
      varying vec3 at;
      varying vec3 haze;
      uniform float time;
      uniform vec3 deep, shallow;
      uniform vec3 lampAt[${lamps.length}];
      uniform vec3 lampColor[${lamps.length}];
      ${SKY}
      void main() {
        vec3 toEye = cameraPosition - at;
        float far = length(toEye);
        vec3 v = toEye / far;
        vec3 facet = normalize(cross(dFdx(at), dFdy(at)));
        if (facet.y < 0.0) facet = -facet;
        vec3 n = normalize(mix(facet, vec3(0.0, 1.0, 0.0), smoothstep(25.0, 120.0, far) * 0.8));
        float ripple = sin(at.x * 2.3 + time * 1.3 + sin(at.z * 1.7)) * sin(at.z * 2.9 - time * 1.1);
        n = normalize(n + vec3(ripple * 0.02, 0.0, ripple * 0.035));
        vec3 r = reflect(-v, n);
        r.y = abs(r.y);
        float grazing = 1.0 - max(dot(n, v), 0.0);
        float fresnel = 0.05 + 0.95 * grazing * grazing * grazing;
        vec3 body = mix(deep, shallow, clamp((at.y - ${number(WATER_LEVEL)}) * 2.4 + 0.35, 0.0, 1.0));
        vec3 c = mix(body, skyColor(r) * 0.88, fresnel * 0.84);
        float s = max(dot(r, sun), 0.0);
        c += glare * (exp2((s - 1.0) * 300.0) * 1.5 + exp2((s - 1.0) * 50.0) * 0.14);
        for (int i = 0; i < ${lamps.length}; i++) {
          vec3 l = lampAt[i] - at;
          float d2 = dot(l, l);
          float m = max(dot(r, l * inversesqrt(d2)), 0.0);
          c += lampColor[i] * (exp2((m - 1.0) * 110.0) * 0.75 + 0.3 / (4.0 + d2));
        }
        float fog = smoothstep(45.0, 190.0, far);
        c = mix(c, haze, fog);
        gl_FragColor = vec4(c, 1.0);
        #include <tonemapping_fragment>
        #include <colorspace_fragment>
      }
    `,
  });
  const geometry = new THREE.PlaneGeometry(380, 380, 132, 132).rotateX(-Math.PI / 2);
  const water = new THREE.Mesh(geometry, material);
  water.position.y = WATER_LEVEL;
  water.frustumCulled = false;
  return { water, flow: (time) => (uniforms.time.value = time) };
}

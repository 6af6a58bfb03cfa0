import { gunzipSync } from "node:zlib";

/** How deep text may be packed into text (base64 of base64 of gzip is what Helm does). */
const MAX_DEPTH = 6;

/**
 * Looks for a secret in what was printed or written: plain and as JSON, URLs, base64 and hex write it, cut by line ends, and in all
 * that base64 or gzip packs, at any depth.
 *
 * @returns how it was found, from the outside to the inside, as `base64 > gzip > plain`; undefined when it is not there
 */
export function findCanary(canary: string, where: string | Buffer, depth = 0): string | undefined {
    if (depth > MAX_DEPTH) return undefined;
    const bytes = typeof where === "string" ? Buffer.from(where) : where;
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) return below("gzip", canary, unzip(bytes), depth);
    // One character per byte, so that nothing is lost of what is no text.
    const text = bytes.toString("latin1");
    const joined = text.replaceAll(/\\[rn]|\\\r?\n|\r?\n[ \t]*/g, "");
    const forms = formsOf(canary);
    for (const [name, whole] of [
        ["", text],
        [" cut by line ends", joined],
    ] as const) {
        const found = forms.find(([, form]) => whole.toLowerCase().includes(form.toLowerCase()));
        if (found !== undefined) return found[0] + name;
    }
    for (const run of new Set([text, joined].flatMap((one) => one.match(/[A-Za-z0-9+/_-]{16,}={0,2}/g) ?? []))) {
        const found = below("base64", canary, Buffer.from(run, "base64"), depth);
        if (found !== undefined) return found;
    }
    return undefined;
}

/** The ways in which programs write a text into another one. */
export function formsOf(canary: string): readonly (readonly [name: string, form: string])[] {
    const latin1 = (text: string) => Buffer.from(text).toString("latin1");
    const json = JSON.stringify(canary).slice(1, -1);
    // Go's JSON writes these three as numbers.
    const goJson = json.replaceAll(/[&<>]/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`);
    return [
        ["plain", latin1(canary)],
        ["JSON", latin1(json)],
        ["JSON of Go", latin1(goJson)],
        ["URL", encodeURIComponent(canary)],
        ["hex", Buffer.from(canary).toString("hex")],
        ...[0, 1, 2].map((shift) => [`base64 at ${shift}`, base64Inside(canary, shift)] as const),
    ];
}

/** The characters of a longer base64 text that depend on nothing but the canary, which begins `shift` bytes after a full triple. */
function base64Inside(canary: string, shift: number): string {
    const bytes = Buffer.concat([Buffer.alloc(shift), Buffer.from(canary)]);
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 3)).toString("base64");
    return whole.slice(shift === 0 ? 0 : 4);
}

function below(name: string, canary: string, inside: Buffer | undefined, depth: number): string | undefined {
    const found = inside === undefined || inside.length === 0 ? undefined : findCanary(canary, inside, depth + 1);
    return found === undefined ? undefined : `${name} > ${found}`;
}

function unzip(bytes: Buffer): Buffer | undefined {
    try {
        return gunzipSync(bytes);
    } catch {
        return undefined;
    }
}

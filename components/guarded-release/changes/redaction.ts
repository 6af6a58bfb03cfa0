import type { FieldChange, ObjectChange } from "./changes";

/** What stands in the place of a secret. */
export const SECRET = "[secret]";

/**
 * A change that may be shown to anybody: what a name or the text itself marks as a secret is {@link SECRET}, the rest stays.
 * Both sides can become the same text; it still is a change.
 *
 * @param kind of the object; without it, everything below `data` and `stringData` is taken for that of a Secret
 */
export function redacted(change: FieldChange, kind?: string): FieldChange {
    const { path, before, after } = change;
    return { path, before: redactedValue(path, before, kind), after: redactedValue(path, after, kind) };
}

/** {@link redacted} for all fields of an object. */
export function redactedObject(change: ObjectChange): ObjectChange {
    const kind = change.name.split("/").at(-2);
    return { ...change, fields: change.fields.map((field) => redacted(field, kind)) };
}

/** A value without what its path or its text marks as secret; see {@link redacted}. */
export function redactedValue(path: readonly string[], value: unknown, kind?: string): unknown {
    if (value === undefined || value === null || typeof value === "boolean") return value;
    if (Array.isArray(value)) {
        return value.map((item: unknown, index) => {
            const before: unknown = value[index - 1];
            // `--password x` as two arguments
            if (
                typeof item === "string" &&
                typeof before === "string" &&
                /^--?\w/.test(before) &&
                isSecretName([before])
            )
                return SECRET;
            return redactedValue([...path, `[${nameOf(item) ?? index}]`], item, kind);
        });
    }
    if (typeof value === "object") {
        return Object.fromEntries(
            Object.entries(value).map(([key, inner]) => [key, redactedValue([...path, key], inner, kind)]),
        );
    }
    if ((kind === undefined || kind === "Secret") && /^(?:data|stringData)$/.test(path[0] ?? "")) return SECRET;
    if (isSecretName(path) && !saysNothing(path, value)) return SECRET;
    return typeof value === "string" ? redactedText(value, isFingerprint(path)) : value;
}

function nameOf(item: unknown): string | undefined {
    const name = typeof item === "object" && item !== null && "name" in item ? item.name : undefined;
    return typeof name === "string" ? name : undefined;
}

const SECRET_WORDS =
    /^(?:password|passwd|pwd|passphrase|passcode|secrets?|credentials?|tokens?|apikeys?|keys?|privatekey|authorization|cookies?)$/;
/** With these, even a number is not shown. */
const STRONG_WORDS = /^(?:password|passwd|pwd|passphrase|passcode|secret)$/;
/** `SIGNING_KEY_FILE`, `secretName`, `key-generation`: something about a secret, which is none itself. */
const ABOUT =
    /^(?:names?|refs?|files?|paths?|dir|folder|generation|version|type|size|length|count|limit|seconds|minutes|days|ttl|policy|class|namespace|mode|modes|id|ids|url|uri|endpoint|host|port|audience|issuer|algorithm|prefix|suffix|header|enabled)$/;
/** `publicKey`, `topologyKey`, `matchLabelKeys`, `checksum/secret` */
const HARMLESS = /^(?:public|topology|label|match|cache|partition|checksum|sha256|hash|digest|max|min)$/;
/** Fields that hold the name of a Secret or of an entry in it. */
const NAME_FIELDS = /^(?:existingSecret|tlsSecret|urlSecret|pullSecrets?|imagePullSecrets?|secretName|keySecret)$/;

function isSecretName(path: readonly string[]): boolean {
    const keys = path.map((key) => key.replace(/^\[(.*)\]$/, "$1"));
    const inList = path.map((key) => key.startsWith("[") && key.endsWith("]"));
    let index = keys.length - 1;
    // The value of `{name: API_TOKEN, value: …}` is named by its item; a text in a list by the list.
    if (keys[index] === "value" && inList[index - 1] === true) index--;
    else while (index > 0 && inList[index] === true) index--;
    const key = keys[index] ?? "";
    const parent = keys[index - 1] ?? "";
    if (NAME_FIELDS.test(key)) return false;
    if (key === "key" && (inList[index - 1] === true || /(?:ref|selector|secret)$/i.test(parent))) return false;
    // `secrets: {VARIABLE: {secret: name, key: entry}}` among the chart's values
    if ((key === "key" || key === "secret") && keys[index - 2] === "secrets") return false;
    const found = words(key);
    return (
        (found.some((word) => SECRET_WORDS.test(word)) || found.at(-1) === "auth") &&
        !ABOUT.test(found.at(-1) ?? "") &&
        !found.some((word) => HARMLESS.test(word))
    );
}

/** An empty text, a switch or a number such as MAX_TOKENS. */
function saysNothing(path: readonly string[], value: unknown): boolean {
    const text = String(value);
    if (text === "" || text === "true" || text === "false") return true;
    return /^\d{1,9}$/.test(text) && !path.some((key) => words(key).some((word) => STRONG_WORDS.test(word)));
}

/** Keys whose long hexadecimal text is known to everybody. */
function isFingerprint(path: readonly string[]): boolean {
    const key = [...path].reverse().find((one) => !one.startsWith("[")) ?? "";
    return words(key).some((word) =>
        /^(?:image|tag|digest|sha256|checksum|hash|revision|commit|version|uid)$/.test(word),
    );
}

/** `apiKey`, `API_KEY`, `api-key` → api, key */
function words(name: string): string[] {
    return name
        .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
        .replace(/([A-Z])([A-Z][a-z])/g, "$1 $2")
        .toLowerCase()
        .split(/[^a-z0-9]+/)
        .filter((word) => word !== "");
}

const NAMED_SECRET =
    /((?:password|passwd|pwd|passphrase|secret|token|credential|(?:api|access|account|private|shared|signing)[-_]?key)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s"',;&}]+)/gi;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
    [/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?(?:-----END \1-----|$)/g, SECRET],
    // The same in base64.
    [/LS0tLS1CRUdJTi[A-Za-z0-9+/=\s]*/g, SECRET],
    [/\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g, SECRET],
    // Keys that say by their beginning whose they are.
    [
        /\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|sk-[\w-]{16,}|hf_\w{16,}|AIza[\w-]{30,}|npm_\w{20,}|pypi-[\w-]{16,}|pul-[0-9a-f]{20,})/g,
        SECRET,
    ],
    [/(\b[a-z][a-z0-9+.-]*:\/\/)(?:[^\s/?#@"']+|[^\s@"':/]*:(?!\d+(?:\/|$))[^\s@"']*)@/gi, `$1${SECRET}@`],
    [
        /([?&;][\w.-]*(?:sig|signature|token|secret|passw|pwd|credential|key|auth|code)[\w.-]*=)[^&\s"'#]+/gi,
        `$1${SECRET}`,
    ],
    [/\b(bearer|basic)(\s+)(?=\S*\d|\S{20})[A-Za-z0-9._~+/=-]{8,}/gi, `$1$2${SECRET}`],
    [NAMED_SECRET, `$1${SECRET}`],
];

/** Replaces what looks like a secret inside a text; the rest of it stays readable. */
export function redactedText(text: string, fingerprint = false): string {
    const named = PATTERNS.reduce((rest, [pattern, shown]) => rest.replace(pattern, shown), text);
    if (fingerprint) return named;
    return named.replace(/(?<!sha256:)[A-Za-z0-9+/_-]{20,}={0,2}/g, (run) => (isRandom(run) ? SECRET : run));
}

/**
 * Whether letters and digits alternate as they do in a generated key and not in words, names and paths: in a random text of
 * base 16, 36 or 64 each second neighbour is of another class, in the longest identifier each sixth.
 */
function isRandom(run: string): boolean {
    if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(run)) return false;
    return run.split(/[^A-Za-z0-9]+/).some((part) => {
        if (part.length < 20 || new Set(part).size < 10) return false;
        // BackoffLimitExceeded
        if (/^(?:[A-Z][a-z]{3,})+$/.test(part)) return false;
        const classes = Array.from(part, (character) => (/\d/.test(character) ? 0 : /[a-z]/.test(character) ? 1 : 2));
        const steps = classes.filter((one, index) => index > 0 && one !== classes[index - 1]).length;
        return steps / part.length >= 0.25;
    });
}

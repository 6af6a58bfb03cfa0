import { randomBytes, randomInt } from "node:crypto";
import { packageVersion } from "./package-version";
import type { DetailedDiff } from "./rpc/detailed-diff";
import { detailedDiff } from "./rpc/detailed-diff";
import type { Properties, Value } from "./rpc/properties";
import { containsUnknown, isUnknown, keepSecrets, reveal, secret, textOf, unknown } from "./rpc/properties";
import type { CheckInput, Failure, ResourceProvider } from "./rpc/provider";
import { serveProvider } from "./rpc/provider";

interface Generated {
    id: string;
    outputs: Properties;
}

/** One kind of random value. Each of them is made once and replaced when any of its inputs changes. */
interface Kind {
    defaults: Properties;
    /** Outputs that are not inputs. */
    computed: string[];
    secrets: string[];
    check(inputs: Properties): Failure[];
    generate(inputs: Properties): Promise<Generated>;
    /** The state of a value that was made elsewhere and is now imported under its id. */
    adopt(id: string): Promise<Generated>;
}

const characters = {
    upper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    lower: "abcdefghijklmnopqrstuvwxyz",
    numeric: "0123456789",
    special: "!@#$%&*()-_=+[]{}<>:?",
};
type CharacterClass = keyof typeof characters;

const minimumOf: Record<CharacterClass, string> = {
    upper: "minUpper",
    lower: "minLower",
    numeric: "minNumeric",
    special: "minSpecial",
};

const stringDefaults: Properties = {
    lower: true,
    upper: true,
    number: true,
    numeric: true,
    special: true,
    minLower: 0,
    minUpper: 0,
    minNumeric: 0,
    minSpecial: 0,
};

function numberOf(value: Value | undefined): number {
    return typeof value === "number" ? value : 0;
}

function pick(alphabet: string, count: number): string[] {
    return Array.from({ length: count }, () => alphabet.charAt(randomInt(alphabet.length)));
}

function shuffle(items: string[]): string {
    const left = [...items];
    let text = "";
    while (left.length > 0) text += left.splice(randomInt(left.length), 1).join("");
    return text;
}

function alphabetOf(inputs: Properties, kind: CharacterClass): string {
    if (inputs[kind] !== true) return "";
    const own = kind === "special" ? textOf(inputs.overrideSpecial) : "";
    return own === "" ? characters[kind] : own;
}

function randomText(inputs: Properties): string {
    const classes = Object.keys(characters) as CharacterClass[];
    const required = classes.flatMap((kind) => {
        const count = numberOf(inputs[minimumOf[kind]]);
        // A minimum holds even where the class is switched off for the rest, as in the published provider.
        return pick(alphabetOf({ ...inputs, [kind]: true }, kind), count);
    });
    const any = classes.map((kind) => alphabetOf(inputs, kind)).join("");
    return shuffle([...required, ...pick(any, numberOf(inputs.length) - required.length)]);
}

function checkText(inputs: Properties): Failure[] {
    const length = numberOf(inputs.length);
    const least = Object.values(minimumOf).reduce((sum, key) => sum + numberOf(inputs[key]), 0);
    const classes = Object.keys(characters) as CharacterClass[];
    const failures: Failure[] = [];
    if (!Number.isInteger(length) || length < 1) {
        failures.push({ property: "length", reason: `expected a whole number of at least 1, got ${String(length)}` });
    } else if (length < least) {
        failures.push({
            property: "length",
            reason: `length (${String(length)}) must be at least minUpper + minLower + minNumeric + minSpecial (${String(least)})`,
        });
    }
    if (!classes.some((kind) => inputs[kind] === true)) {
        failures.push({ property: "special", reason: "one of upper, lower, numeric and special must be true" });
    }
    return failures;
}

async function bcryptHash(text: string): Promise<string> {
    const { hash } = await import("bcryptjs");
    // bcrypt reads 72 bytes.
    return hash(Buffer.from(text).subarray(0, 72).toString(), 10);
}

async function passwordOutputs(result: string): Promise<Properties> {
    return { result, bcryptHash: await bcryptHash(result) };
}

function idOutputs(bytes: Buffer, prefix: string): Properties {
    return {
        b64Std: prefix + bytes.toString("base64"),
        b64Url: prefix + bytes.toString("base64url"),
        dec: prefix + BigInt(`0x${bytes.toString("hex")}`).toString(),
        hex: prefix + bytes.toString("hex"),
    };
}

const petWords = {
    adverbs: "calmly boldly gently kindly neatly nimbly openly safely simply warmly".split(" "),
    adjectives: "able brave bright calm clever eager fair gentle keen lively noble quick quiet sunny swift wise".split(
        " ",
    ),
    names: "badger beaver crane dolphin eagle falcon fox gecko heron ibis jay koala lemur lynx marten otter panda raven seal tiger".split(
        " ",
    ),
};

function petName(length: number, separator: string): string {
    const word = (words: string[]): string => words[randomInt(words.length)] ?? "";
    const words = [word(petWords.names)];
    if (length > 1) words.unshift(word(petWords.adjectives));
    while (words.length < length) words.unshift(word(petWords.adverbs));
    return words.join(separator);
}

const kinds: Record<string, Kind> = {
    "random:index/randomPassword:RandomPassword": {
        defaults: stringDefaults,
        computed: ["result", "bcryptHash"],
        secrets: ["result", "bcryptHash"],
        check: checkText,
        generate: async (inputs) => ({ id: "none", outputs: await passwordOutputs(randomText(inputs)) }),
        adopt: async (id) => ({ id: "none", outputs: { length: id.length, ...(await passwordOutputs(id)) } }),
    },
    "random:index/randomString:RandomString": {
        defaults: stringDefaults,
        computed: ["result"],
        secrets: [],
        check: checkText,
        generate: (inputs) => {
            const result = randomText(inputs);
            return Promise.resolve({ id: result, outputs: { result } });
        },
        adopt: (id) => Promise.resolve({ id, outputs: { length: id.length, result: id } }),
    },
    "random:index/randomId:RandomId": {
        defaults: {},
        computed: ["b64Std", "b64Url", "dec", "hex"],
        secrets: [],
        check: ({ byteLength }) =>
            numberOf(byteLength) >= 1
                ? []
                : [{ property: "byteLength", reason: `expected at least 1, got ${String(numberOf(byteLength))}` }],
        generate: ({ byteLength, prefix }) => {
            const bytes = randomBytes(numberOf(byteLength));
            return Promise.resolve({ id: bytes.toString("base64url"), outputs: idOutputs(bytes, textOf(prefix)) });
        },
        adopt: (id) => {
            const [text = "", prefix] = id.split(",").reverse();
            const bytes = Buffer.from(text, "base64url");
            const given: Properties = prefix === undefined ? {} : { prefix };
            return Promise.resolve({
                id: text,
                outputs: { byteLength: bytes.length, ...given, ...idOutputs(bytes, prefix ?? "") },
            });
        },
    },
    "random:index/randomPet:RandomPet": {
        defaults: { length: 2, separator: "-" },
        computed: [],
        secrets: [],
        check: () => [],
        generate: ({ length, prefix, separator }) => {
            const name = petName(numberOf(length), textOf(separator));
            return Promise.resolve({
                id: prefix === undefined ? name : [textOf(prefix), name].join(textOf(separator)),
                outputs: {},
            });
        },
        adopt: (id) => Promise.resolve({ id, outputs: {} }),
    },
};

function kindOf(type: string): Kind {
    const kind = kinds[type];
    if (kind !== undefined) return kind;
    const known = Object.keys(kinds).join(", ");
    throw new Error(`the stand-in for the random provider has no ${type}, only ${known}: use the published plugin`);
}

/** Inputs with the provider's defaults. `number` is the old name of `numeric`: whichever is given speaks for both. */
function withDefaults(kind: Kind, inputs: Properties): Properties {
    const all = { ...kind.defaults, ...inputs };
    if (!("numeric" in kind.defaults)) return all;
    const numeric = inputs.numeric ?? inputs.number ?? true;
    return { ...all, numeric, number: numeric };
}

function stateOf(kind: Kind, inputs: Properties, outputs: Properties): Properties {
    const all = { ...withDefaults(kind, inputs), ...outputs };
    for (const key of kind.secrets) all[key] = secret(all[key] ?? unknown);
    return keepSecrets(all, inputs);
}

function only(object: Properties, keep: (key: string) => boolean): Properties {
    return Object.fromEntries(Object.entries(object).filter(([key]) => keep(key)));
}

class RandomProvider implements ResourceProvider {
    readonly version = packageVersion("@pulumi/random");

    configure(): Promise<void> {
        return Promise.resolve();
    }

    check({ type, news }: CheckInput): Promise<{ inputs: Properties; failures: Failure[] }> {
        const kind = kindOf(type);
        const inputs = only(news, (key) => key !== "__defaults");
        const failures = containsUnknown(inputs) ? [] : kind.check(withDefaults(kind, reveal(inputs)));
        return Promise.resolve({ inputs, failures });
    }

    diff(input: { type: string; state: Properties; news: Properties }): Promise<{ changes: DetailedDiff }> {
        const kind = kindOf(input.type);
        const recorded = only(
            reveal(input.state),
            (key) => !kind.computed.includes(key) && !key.startsWith("__") && key !== "id",
        );
        const wanted = reveal(withDefaults(kind, input.news));
        return Promise.resolve({ changes: detailedDiff(wanted, recorded, recorded, () => true) });
    }

    async create(input: {
        type: string;
        news: Properties;
        preview: boolean;
    }): Promise<{ id: string; state: Properties }> {
        const kind = kindOf(input.type);
        if (input.preview) {
            const outputs = Object.fromEntries(kind.computed.map((key) => [key, unknown]));
            return { id: "", state: stateOf(kind, input.news, outputs) };
        }
        const { id, outputs } = await kind.generate(reveal(withDefaults(kind, input.news)));
        return { id, state: stateOf(kind, input.news, outputs) };
    }

    async read(input: {
        id: string;
        type: string;
        state: Properties;
        inputs: Properties;
    }): Promise<{ id: string; state: Properties; inputs: Properties }> {
        if (Object.keys(input.state).length > 0) return input;
        const kind = kindOf(input.type);
        const { id, outputs } = await kind.adopt(input.id);
        const inputs = { ...kind.defaults, ...only(outputs, (key) => !kind.computed.includes(key)) };
        return { id, state: stateOf(kind, inputs, outputs), inputs };
    }

    update({ state, news }: { state: Properties; news: Properties }): Promise<Properties> {
        return Promise.resolve({ ...state, ...only(news, (key) => !isUnknown(news[key])) });
    }

    delete(): Promise<void> {
        return Promise.resolve();
    }

    invoke(token: string): Promise<Properties> {
        return Promise.reject(new Error(`the random provider has no function ${token}`));
    }

    cancel(): Promise<void> {
        return Promise.resolve();
    }
}

export async function main(args: readonly string[]): Promise<void> {
    await serveProvider(args, () => new RandomProvider());
}

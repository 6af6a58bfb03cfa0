import { expect } from "chai";
import fc from "fast-check";
import { thorough } from "../thorough";
import { errorsOf, outcomes, schemaErrors, seed, type Outcome, type Value, type Values } from "./helm";
import {
    changed,
    entry,
    examples,
    hasType,
    isOpen,
    lastOf,
    leafKeys,
    misprint,
    nameOf,
    names,
    placesOf,
    scalarsIn,
    shown,
    valueAt,
    type Example,
    type Key,
    type Place,
} from "./keys";

/** Words that YAML, templates and shells take for something else: each place that prints a text must quote it. */
const tricky = (
    "NO no on y true null ~ 1e3 0x10 010 1_000 1.10 12:30 .inf -1 512m 0 - {{ $(PATH) $$(X) ' \" & @ % | # " +
    "{{ .Values.image }}␣a: b␣a #b␣- a␣[a]␣{a: b}␣ x ␣it's␣a\nb␣\\n␣ünïcode"
)
    .split("␣")
    .flatMap((words, index) => (index === 0 ? words.split(" ").filter((word) => word !== "") : [words]));

/** Forms that are nearly right, and letters that are seldom seen: a matter of the key's schema. */
const nearly = [
    ..."NaN .nan .5 Infinity -0 0.0000001 99999999999999999999 512mb 1.5.5Gi 1,5Gi 0Gi -1Gi 1Pi 1e3Mi 65536".split(" "),
    ...'8080/tcp sha256:abc 日本語 \u{1F600} -- .. / // {{ ${X} `id` " *a !x > \\ <b>& \u0007\u2028'.split(" "),
    ...["1 Gi", " ", "a\r\nb", "tab\there", "a".repeat(64), "a".repeat(254), "a".repeat(5000)],
    ...[`sha256:${"a".repeat(63)}`, `sha256:${"A".repeat(64)}`, `sha512:${"a".repeat(64)}`],
];
const words = [...tricky, ...nearly];
const numbers = [-1, 0, 0.5, 3, 65535, 65536, 1_000_000, 1_048_577, 10_000_001, 2 ** 31, 2 ** 53, 1e21, -(2 ** 31)];
const bad: readonly Value[] = [...words, ...numbers, true, false, [], ["x"], {}, { x: 1 }];

/** For the objects that Kubernetes describes and no schema checks: their lists and maps as something else. */
const malformed: readonly Value[] = [
    ...["containers", "initContainers", "volumes", "env", "volumeMounts", "securityContext", "scaleDown"].flatMap(
        (name) =>
            [null, "x", {}, [], ["x"], [null]].map((value): Value => ({
                [name]: value,
            })),
    ),
    ...[null, "x", 7, [], { capabilities: "x" }, { capabilities: { drop: "ALL" } }, { capabilities: null }].flatMap(
        (securityContext): Value[] => [
            { containers: [{ name: "x", securityContext }] },
            { initContainers: [{ name: "x", image: "x", securityContext }] },
        ],
    ),
];

/** Keys whose value is not itself in a manifest, and what is made of it. */
const derived: Readonly<Record<string, string>> = {
    "model.loadBudgetSeconds": "rounded up to whole periods of the start-up probe",
};

/** The value as a manifest may hold it: as it is, after $ was doubled against expansion, or inside of JSON. */
function carries(scalars: readonly string[], value: string | number): boolean {
    if (typeof value === "number") {
        const digits = new RegExp(`(?<![0-9.])${String(value).replace(".", "[.]")}(?![0-9]|[.][0-9])`);
        return scalars.some((scalar) => digits.test(scalar));
    }
    const json = JSON.stringify(value).slice(1, -1);
    const forms = [
        value,
        json,
        json.replace(/[<>&\u2028\u2029]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`),
    ];
    const wanted = [...forms, ...forms.map((form) => form.replaceAll("$", "$$$$"))];
    return scalars.some((scalar) => wanted.some((form) => scalar.includes(form)));
}

/** The scalars of one render that another one does not have, or not as often. */
function newScalars(before: string, after: string): string[] {
    const left = new Map<string, number>();
    for (const scalar of scalarsIn(before)) {
        left.set(scalar, (left.get(scalar) ?? 0) + 1);
    }
    return scalarsIn(after).filter((scalar) => {
        const count = left.get(scalar) ?? 0;
        left.set(scalar, count - 1);
        return count <= 0;
    });
}

interface Case {
    readonly key: Key;
    readonly place: Place;
    readonly value: Value;
    readonly values: Values;
}

const describeCase = ({ place, value }: Case): string =>
    `${place.path.join(".")}: ${JSON.stringify(value).slice(0, 80)} in ${place.example.name}`;

describe(`chart: bad values (${leafKeys.length} keys)`, function () {
    this.timeout(300_000);

    const allCases: Case[] = shown(leafKeys.filter(({ path: [section] }) => section !== "global")).flatMap(
        ({ key, place }) =>
            [...bad, ...(isOpen(key.schema) ? malformed : [])].map((value) => ({
                key,
                place,
                value,
                values: changed(place, value),
            })),
    );
    // What is nearly right is rendered once for all keys that have the same schema.
    const seen = new Set<string>();
    const cases = allCases.filter(({ key, value, values }) => {
        if (!nearly.includes(value as string) || errorsOf(values).length > 0) {
            return true;
        }
        const { type, pattern, maxLength } = key.schema;
        const form = JSON.stringify([value, type, pattern, maxLength]);
        return seen.size < seen.add(form).size;
    });
    let found: readonly Outcome[] = [];
    before(async () => {
        found = await outcomes(cases.map(({ values }) => values));
    });
    const of = (kind: Outcome["kind"]): { one: Case; outcome: Outcome }[] =>
        cases.flatMap((one, index) => {
            const outcome = found[index];
            return outcome?.kind === kind ? [{ one, outcome }] : [];
        });

    it("is judged by Helm's validator as it is in this process", () => {
        // Everything that is accepted here, and every tenth value that is not.
        const asked = cases.filter((_, index) => {
            const outcome = found[index];
            return index % 10 === 0 || !(outcome?.kind === "refused" && outcome.by === "schema");
        });
        expect(asked.length).to.be.at.least(1_500);
        schemaErrors(asked.map(({ values }) => values)).forEach((errors, index) => {
            const one = asked[index] as Case;
            expect(errors.length > 0, describeCase(one)).to.equal(errorsOf(one.values).length > 0);
            expect(errors.length === 0 || names(errors.join("\n"), one.place, one.key), describeCase(one)).to.be.true;
        });
    });

    it(`crashes on none of ${cases.length}`, () => {
        expect(cases.length).to.be.at.least(7_000);
        expect(found).to.have.lengthOf(cases.length);
        expect(of("crashed").map(({ one, outcome }) => [describeCase(one), outcome])).to.deep.equal([]);
    });

    it("refuses by the key's name", () => {
        const refused = of("refused");
        expect(refused.length).to.be.at.least(5_000);
        const nameless = refused.filter(
            ({ one, outcome }) => outcome.kind === "refused" && !names(outcome.message, one.place, one.key),
        );
        expect(nameless.map(({ one, outcome }) => [describeCase(one), outcome])).to.deep.equal([]);
    });

    it("otherwise renders exactly the value", async () => {
        const originals = await outcomes(examples.map(({ values }) => values));
        const original = new Map(
            originals.map((one, index) => [examples[index], one.kind === "rendered" ? one.manifests : ""]),
        );
        const rendered = of("rendered").filter(
            ({ one: { value, place } }) =>
                ((typeof value === "string" && value !== "") || (typeof value === "number" && value !== 0)) &&
                valueAt(place.example.full, place.path) !== value,
        );
        expect(rendered.length).to.be.at.least(500);
        const lost = rendered.filter(({ one, outcome }) => {
            const after = outcome.kind === "rendered" ? outcome.manifests : "";
            const found = newScalars(original.get(one.place.example) ?? "", after);
            return !carries(found, one.value as string | number);
        });
        const isDerived = ({ one }: { one: Case }): boolean => nameOf(one.key) in derived;
        expect(lost.filter((one) => !isDerived(one)).map(({ one }) => describeCase(one))).to.deep.equal([]);
        const stale = Object.keys(derived).filter((name) => !lost.some(({ one }) => nameOf(one.key) === name));
        expect(stale, "declared as derived, but rendered").to.deep.equal([]);
    });
});

/** Any value that the schema accepts for a key. */
function anyValid({ schema, path }: Key): fc.Arbitrary<Value> {
    const kinds: fc.Arbitrary<Value>[] = [];
    if (schema.enum !== undefined) {
        return fc.constantFrom(...schema.enum);
    }
    if (hasType(schema, "boolean")) {
        kinds.push(fc.boolean());
    }
    if (hasType(schema, "integer")) {
        kinds.push(fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 2 ** 31 - 1 }));
    }
    if (hasType(schema, "number")) {
        const [min, max] = [schema.minimum ?? 0, schema.maximum ?? 1000];
        kinds.push(
            fc.integer({ min: Math.ceil(min * 1000), max: max * 1000 }).map((thousandths) => thousandths / 1000),
        );
    }
    if (hasType(schema, "string")) {
        const { maxLength = 5000 } = schema;
        const text =
            schema.pattern === undefined
                ? fc.oneof(fc.constantFrom(...words), fc.string({ unit: "grapheme", maxLength: 20 }))
                : fc.stringMatching(new RegExp(schema.pattern), { size: "-1" });
        kinds.push(text.filter((one) => one.length <= maxLength));
    }
    if (hasType(schema, "null") && lastOf(path) === entry) {
        kinds.push(fc.constant(null));
    }
    if (hasType(schema, "object")) {
        kinds.push(
            fc.dictionary(fc.constantFrom("a", "b", "NO"), fc.oneof(fc.constantFrom(...words), fc.integer()), {
                maxKeys: 2,
            }),
        );
    }
    return fc.oneof(...kinds);
}

describe("chart: random valid values", function () {
    this.timeout(300_000);
    const runs = thorough ? 300 : 100;

    it(`are rendered, or refused in a sentence, in ${runs} mixtures over the examples`, async () => {
        const shownIn = new Map(examples.map((example): [Example, Place[]] => [example, []]));
        const anyFor = new Map<Place, fc.Arbitrary<Value>>();
        for (const key of leafKeys) {
            const any = anyValid(key);
            for (const place of placesOf(key)) {
                anyFor.set(place, any);
                shownIn.get(place.example)?.push(place);
            }
        }
        const mixture = fc.constantFrom(...shownIn).chain(([example, places]) => {
            return fc
                .subarray(places, { minLength: 1, maxLength: 5 })
                .chain((some) =>
                    fc.tuple(
                        ...some.map((place) =>
                            (anyFor.get(place) as fc.Arbitrary<Value>).map((value) => ({ place, value })),
                        ),
                    ),
                )
                .map((changes) => ({
                    what: `${example.name} with ${changes.map(({ place, value }) => `${place.path.join(".")}=${JSON.stringify(value)}`).join(" ")}`,
                    values: changes.reduce(
                        (values, { place, value }) =>
                            changed({ path: place.path, example: { ...example, values } }, value),
                        example.values,
                    ),
                }));
        });
        const samples = fc.sample(mixture, { numRuns: runs, seed });
        const found = await outcomes(samples.map(({ values }) => values));
        const counts = { rendered: 0, refused: 0, crashed: 0 };
        found.forEach((outcome, index) => {
            const what = `seed ${seed}: ${samples[index]?.what ?? ""}`;
            counts[outcome.kind]++;
            if (outcome.kind === "rendered") {
                // A value may have such signs of its own.
                const printed = misprint.test(JSON.stringify(samples[index]?.values)) ? "" : outcome.manifests;
                expect(printed, what).not.to.match(misprint);
            } else {
                expect(outcome.kind, `${what}\n${outcome.message}`).to.equal("refused");
                expect(outcome.kind === "refused" && outcome.by, `${what}\n${outcome.message}`).to.equal("rule");
                expect(outcome.message, what).to.match(/^- \S+( \S+){4,}/m);
            }
        });
        expect(counts.rendered, JSON.stringify(counts)).to.be.at.least(runs / 5);
        expect(counts.refused, JSON.stringify(counts)).to.be.at.least(runs / 50);
    });
});

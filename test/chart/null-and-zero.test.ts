import { expect } from "chai";
import { merged, outcome, outcomes, render, smallest, type Outcome, type Value, type Values } from "./helm";
import { changed, examples, keys, misprint, names, placesOf, sectionKeys, shown, type Key, type Place } from "./keys";

interface Case {
    readonly what: string;
    readonly key: Key;
    readonly place: Place;
    readonly values: Values;
}

const empty: readonly Value[] = [null, 0, false, "", [], {}];
const others: readonly Value[] = ["text", true, ["x"]];

const setTo = (key: Key, place: Place, value: Value): Case => ({
    what: `${place.path.join(".")}: ${JSON.stringify(value)} in ${place.example.name}`,
    key,
    place,
    values: changed(place, value),
});

/** What is wrong with an outcome: a crash, a misprint, or a refusal that does not name its key. */
function fault({ what, key, place }: Case, one: Outcome | undefined): string[] {
    if (one === undefined) {
        return [`${what}: no outcome`];
    }
    if (one.kind === "crashed") {
        return [`${what} crashes: ${one.message.slice(0, 400)}`];
    }
    if (one.kind === "rendered") {
        const found = misprint.exec(one.manifests);
        return found === null ? [] : [`${what} prints ${found[0]}`];
    }
    return names(one.message, place, key) ? [] : [`${what} is refused without its name: ${one.message.slice(0, 400)}`];
}

async function faults(cases: readonly Case[]): Promise<string[]> {
    const found = await outcomes(cases.map(({ values }) => values));
    return cases.flatMap((one, index) => fault(one, found[index]));
}

describe("chart: null, zero and emptiness", function () {
    this.timeout(300_000);

    const everyKey = shown(keys).flatMap(({ key, place }) =>
        [...empty, ...others].map((value) => setTo(key, place, value)),
    );
    it(`renders or refuses by name null, 0, false, "", [] and {} in place of every key (${everyKey.length} cases)`, async () => {
        expect(everyKey.length).to.be.at.least(1000);
        expect(await faults(everyKey)).to.deep.equal([]);
    });

    // A key that its example sets is null over something else than the default.
    const overDefaults = keys.flatMap((key) =>
        placesOf(key)
            .filter(({ example }) => example.name === "smallest")
            .flatMap((place) => empty.map((value) => setTo(key, place, value))),
    );
    it(`does so over the defaults, too (${overDefaults.length} cases)`, async () => {
        expect(overDefaults.length).to.be.at.least(500);
        expect(await faults(overDefaults)).to.deep.equal([]);
    });

    const pairs = sectionKeys.flatMap((section) => placesOf(section).map((place) => setTo(section, place, null)));
    it(`does so for each section together with each example (${pairs.length} pairs)`, async () => {
        expect(pairs.length).to.be.at.least(sectionKeys.length * examples.length * 0.7);
        expect(await faults(pairs)).to.deep.equal([]);
    });

    it("says in a run of its own what it says in a batch", () => {
        const sections = shown(sectionKeys).filter(({ key: { path } }) => path.length === 1 && path[0] !== "global");
        expect(sections.length).to.be.at.least(10);
        for (const { key, place } of sections) {
            const one = setTo(key, place, null);
            const alone = outcome(one.values);
            expect(alone.kind, one.what).to.equal("refused");
            expect(fault(one, alone)).to.deep.equal([]);
        }
    });

    it("renders the same with global: null", () => {
        expect(render(merged(smallest, { global: null }))).to.equal(render(smallest));
    });
});

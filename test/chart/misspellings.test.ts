import { expect } from "chai";
import { at, errorsOf, merged, schemaErrors, schemaErrorsOf, templateMany, type Values } from "./helm";
import { lastOf, nameOf, ownedKeys, refusesBeside, shown, valueAt, type Key } from "./keys";
import { misspellings } from "./misspellings";

const siblingsOf = ({ path, holder }: Key): string[] =>
    Object.keys(holder.properties ?? {}).filter((name) => name !== lastOf(path));

/** Misspellings that are another key of the same object: a schema cannot know what was meant. There should be none. */
const ambiguous = ownedKeys.flatMap((key) =>
    siblingsOf(key)
        .filter((name) => misspellings(lastOf(key.path)).includes(name))
        .map((name) => `${nameOf(key)} as ${name}`),
);

describe(`chart: misspelt keys (${ownedKeys.length} keys)`, function () {
    this.timeout(300_000);

    it("has no two keys in one object that are one letter apart", () => {
        expect(ambiguous).to.deep.equal([]);
    });

    const tried = shown(ownedKeys).map(({ key, place }) => {
        const siblings = siblingsOf(key);
        return { key, place, names: misspellings(lastOf(key.path)).filter((name) => !siblings.includes(name)) };
    });
    const count = tried.reduce((sum, { names }) => sum + names.length, 0);

    it(`rejects each of ${count} misspellings by one letter, and names it`, () => {
        expect(ownedKeys.length).to.be.at.least(100);
        expect(count).to.be.at.least(50_000);
        for (const { key, place, names } of tried) {
            const refuses = refusesBeside(place);
            expect(refuses(lastOf(key.path)), `${nameOf(key)} itself`).to.be.false;
            expect(
                names.filter((name) => !refuses(name)),
                `accepted, or refused without the name, for ${nameOf(key)}`,
            ).to.deep.equal([]);
        }
    });

    /** The misspelling at another place of each key's name, so that the keys together show every kind. */
    const once = tried.map(({ key, place, names }, index) => {
        const name = names[(index * 977) % names.length] ?? "";
        const value = valueAt(place.example.full, place.path) ?? "x";
        return {
            what: `${nameOf(key)} as ${name}`,
            name,
            where: ["", ...place.path.slice(0, -1)].join("/"),
            values: merged(place.example.values, at([...place.path.slice(0, -1), name], value)),
        };
    });

    it(`makes real Helm reject and name a misspelling of each key, in a chart of its own (${once.length})`, () => {
        const { run } = templateMany(once.map(({ values }) => values));
        expect(run.status).not.to.equal(0);
        once.forEach(({ what, name, where }, index) => {
            const errors = schemaErrorsOf(run, index).join("\n");
            expect(errors, what).to.contain(`at '${where}': additional properties '${name}' not allowed`);
        });
    });

    it("agrees in process and in Helm", () => {
        const sets: Values[] = once.map(({ values }) => values);
        schemaErrors(sets).forEach((errors, index) => {
            expect(errors.length > 0, once[index]?.what).to.equal(errorsOf(sets[index] ?? {}).length > 0);
        });
    });
});

/** What a change of each single key does: one sweep, which several tests look at. */
import { outcomes, type Value } from "./helm";
import { alternatives, changed, examples, leafKeys, placesOf, type Key, type Place } from "./keys";

export interface Try {
    readonly key: Key;
    readonly place: Place;
    readonly value: Value;
}

export type Effect =
    | { readonly kind: "renders differently"; readonly by: Try; readonly before: string; readonly after: string }
    | { readonly kind: "is refused" | "none" };

/** Two other values of a key in each of the examples that say most about it. */
export function triesFor(key: Key): Try[] {
    return placesOf(key)
        .slice(0, 8)
        .flatMap((place) =>
            alternatives(key, place)
                .slice(0, 2)
                .map((value) => ({ key, place, value })),
        );
}

let sweep: Promise<{ effects: ReadonlyMap<Key, Effect>; renders: number }> | undefined;

/** The best effect of each key that was found in any example. */
export function effects(): Promise<{ effects: ReadonlyMap<Key, Effect>; renders: number }> {
    return (sweep ??= sweepEffects());
}

async function sweepEffects(): Promise<{ effects: ReadonlyMap<Key, Effect>; renders: number }> {
    const originals = await outcomes(examples.map(({ values }) => values));
    const before = new Map(examples.map((example, index) => [example, originals[index]]));
    const found = new Map<Key, Effect>(leafKeys.map((key) => [key, { kind: "none" }]));
    const left = new Map(leafKeys.map((key) => [key, triesFor(key)]));
    let renders = 0;
    // Most keys show in the first example that sets them; the few others get all their tries in two more rounds.
    for (const each of [1, 4, Infinity]) {
        const round = [...left.values()].flatMap((tries) => tries.splice(0, each));
        renders += round.length;
        const after = await outcomes(round.map(({ place, value }) => changed(place, value)));
        after.forEach((now, index) => {
            const by = round[index] as Try;
            const was = before.get(by.place.example);
            const best = found.get(by.key)?.kind;
            if (now.kind === "crashed" || was?.kind !== "rendered") {
                throw new Error(`${by.place.path.join(".")} in ${by.place.example.name}: ${JSON.stringify(now)}`);
            }
            if (now.kind === "rendered" && now.manifests !== was.manifests && best !== "renders differently") {
                found.set(by.key, { kind: "renders differently", by, before: was.manifests, after: now.manifests });
                left.delete(by.key);
            } else if (now.kind === "refused" && best === "none") {
                found.set(by.key, { kind: "is refused" });
            }
        });
    }
    return { effects: found, renders };
}

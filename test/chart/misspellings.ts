/** Everything that is one slip of the finger away: a letter missing, doubled, swapped, wrong, too many, of the other case. */
export function misspellings(key: string): string[] {
    const letters = "abcdefghijklmnopqrstuvwxyz0_-";
    const found = new Set<string>();
    for (let place = 0; place <= key.length; place++) {
        const [before, after] = [key.slice(0, place), key.slice(place)];
        const [first = "", second = ""] = after;
        found.add(before + after.slice(1));
        found.add(before + second + first + after.slice(2));
        found.add(before + first.toUpperCase() + after.slice(1));
        found.add(before + first.toLowerCase() + after.slice(1));
        for (const letter of letters) {
            found.add(before + letter + after);
            found.add(before + letter + after.slice(1));
        }
    }
    // As other programs write the same words.
    found.add(key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    found.add(key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
    found.add(key.toLowerCase());
    found.add(key.toUpperCase());
    found.delete(key);
    found.delete("");
    return [...found];
}

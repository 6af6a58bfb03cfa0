const FACTORS: Readonly<Record<string, number>> = {
    n: 1e-9,
    u: 1e-6,
    m: 1e-3,
    "": 1,
    k: 1e3,
    M: 1e6,
    G: 1e9,
    T: 1e12,
    P: 1e15,
    E: 1e18,
    Ki: 2 ** 10,
    Mi: 2 ** 20,
    Gi: 2 ** 30,
    Ti: 2 ** 40,
    Pi: 2 ** 50,
    Ei: 2 ** 60,
};

/** A Kubernetes quantity (`500m`, `1.5Gi`, `1e3`, 2) as a number of cores, bytes or pieces; undefined when it is none. */
export function quantityOf(value: unknown): number | undefined {
    if (typeof value === "number") return value;
    if (typeof value !== "string") return undefined;
    const found = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/.exec(value);
    if (found === null) return undefined;
    const [, digits, exponent, suffix = ""] = found;
    return exponent === undefined ? Number(digits) * (FACTORS[suffix] ?? 1) : Number(`${digits}e${exponent}`);
}

import fc from "fast-check";
import { stringify } from "yaml";

/** Cases of each property: a few hundred in the unit suite, 10 000 with ML_API_FUZZ_RUNS=10000 (`make soak`). */
export const RUNS = Number(process.env["ML_API_FUZZ_RUNS"] ?? 200);

/** Milliseconds for a test of that many cases. */
export const PATIENCE_MS = 20_000 + RUNS * 60;

/** What somebody would try who wants a program to do something else with a text than to show it. */
export const ATTACKS: readonly string[] = [
    ...[
        "--help",
        "-o/tmp/x",
        "--upload-pack=touch x",
        "--config=/dev/null",
        "-",
        "--",
        "@file",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
    ],
    ...[
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "| touch x",
        "&& touch x",
        "'; touch x; '",
        '"; touch x; "',
        "${IFS}",
        "%s%n",
        "!!",
    ],
    ...[
        "{{ .Release.Name }}",
        '{{ include "x" . }}',
        "{{/*",
        "*/}}",
        "{{- end }}",
        "${{ github.token }}",
        "::set-output name=x::y",
    ],
    ...[
        "a: b",
        "- a",
        "&a *a",
        "*a",
        "!!js/function",
        "|",
        ">",
        "---",
        "...",
        "? a",
        "{a",
        "[a",
        "#",
        "%YAML 9",
        "<<: *a",
        "~",
        "null",
        "yes",
        "0x1F",
        "1e999",
        "\ufeff",
    ],
    ...[
        "@team",
        "<img src=x onerror=1>",
        "<!-- -->",
        "-->",
        "```",
        "~~~",
        "[a](javascript:b)",
        "![a](https://b)",
        "https://c",
        "|a|",
        "# a",
        "&lt;",
        "#1",
        "</code>",
        "</details>",
    ],
    ...[
        "\u001b[2J",
        "\u001b]0;x\u0007",
        "\u009b31m",
        "\r",
        "\b",
        "\u0000",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u2028",
        "\u0085",
        "\n",
        "\t",
    ],
    ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "length"],
    ...["refs/heads/", "refs/tags/v1", "HEAD", "@{-1}", "a..b", "a^{commit}", ":/x", "a.lock", "a/", "//"],
];

/** A text that may hold any of that, alone or in the middle of something. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...ATTACKS) },
    {
        weight: 2,
        arbitrary: fc
            .array(fc.oneof(fc.constantFrom(...ATTACKS), fc.string({ maxLength: 5 })), { maxLength: 5 })
            .map((all) => all.join("")),
    },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 30 }) },
);

/** Anything that JSON holds, with such texts as keys and values. */
export const hostileValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
    leaf: fc.oneof(hostileText, fc.integer(), fc.double(), fc.boolean(), fc.constant(null)),
    tree: fc.oneof(
        { depthSize: "small" },
        tie("leaf"),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(hostileText, tie("tree"), { maxKeys: 4 }),
    ),
})).tree;

/** What a terminal would obey: none of it may be left in what is shown. */
export const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** Any text, any value as YAML, and what was a file of the kind. */
export function hostileYaml(...samples: string[]): fc.Arbitrary<string> {
    return fc.oneof(
        hostileText,
        hostileValue.map((value) => stringify(value)),
        mutationsOf(...samples),
    );
}

/** Texts that look like a file of the kind, and ones that have been cut, doubled or written over. */
export function mutationsOf(...samples: string[]): fc.Arbitrary<string> {
    return fc
        .tuple(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), fc.nat(20), hostileText), { maxLength: 4 }))
        .map(([sample, edits]) =>
            edits.reduce((text, [at, length, put]) => {
                const from = at % (text.length + 1);
                return text.slice(0, from) + put + text.slice(from + length);
            }, sample),
        );
}

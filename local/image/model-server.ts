import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pinnedSubset, pinnedVersion } from "./pinned-requirements";

/** What made a model's file: joblib or pickle of scikit-learn, or ONNX. */
export type ModelKind = "sklearn" | "onnx";

/** What `model-server/describe.py` says of a model's file. */
export interface ModelDescription {
    /** Names of its inputs, in its order. */
    readonly features: readonly string[];
    /** Names of its classes; empty for a model that answers with a number. */
    readonly classes: readonly string[];
    readonly answers: "probabilities" | "label" | "value";
    readonly sample: { readonly input: Readonly<Record<string, number>>; readonly answer: object };
    /** Name and version of what made it, or runs it. */
    readonly library: string;
    /** The most memory of a process that loads it and asks it once. */
    readonly peakBytes: number;
    /** From the start of loading to the first answer. */
    readonly seconds: number;
}

export interface ModelServer {
    /** Name of the API. */
    readonly name: string;
    readonly kind: ModelKind;
    /** The model's own file. */
    readonly modelFile: string;
    readonly description: ModelDescription;
}

/** The sample API, whose code every generated server runs. */
const SAMPLE = "examples/mf-demo";
const OWN = path.join(__dirname, "model-server");
/** The Python package of a generated server. */
const PACKAGE = "api";
/** These two of the sample know its model; a generated server has others. */
const REPLACED = ["model.py", "schemas.py"];

/** `.joblib`, `.pkl` and `.pickle` are scikit-learn's, `.onnx` is ONNX; undefined for any other. */
export function modelKind(file: string): ModelKind | undefined {
    const ending = path.extname(file).toLowerCase();
    return ending === ".onnx" ? "onnx" : [".joblib", ".pkl", ".pickle"].includes(ending) ? "sklearn" : undefined;
}

/**
 * The text files of a server for a model: path below its folder → text. Its code is the sample's, changed where the sample
 * speaks of its own model, and {@link OWN}; its packages are a part of those that the sample pins. The model's file is not
 * among them: it belongs to `model/` under its own name.
 *
 * @param root the checkout that holds the sample
 * @throws Error when the sample no longer has a place that is changed
 */
export function modelServerFiles(root: string, server: ModelServer): ReadonlyMap<string, string> {
    const sample = (file: string): string => fs.readFileSync(path.join(root, SAMPLE, file), "utf8");
    const own = (file: string): string => fs.readFileSync(path.join(OWN, file), "utf8");
    const code = fs
        .readdirSync(path.join(root, SAMPLE, "mf_demo"))
        .filter((file) => file.endsWith(".py") && !REPLACED.includes(file))
        .map((file): [string, string] => [
            `${PACKAGE}/${file}`,
            adapted(sample(`mf_demo/${file}`), CHANGES[file]?.(server) ?? [], `${SAMPLE}/mf_demo/${file}`),
        ]);
    return new Map([
        ["Dockerfile", dockerfile(sample("Dockerfile"))],
        [".dockerignore", IGNORED],
        ...requirements(sample, server.kind),
        ...code,
        [`${PACKAGE}/model.py`, own("model.py")],
        [`${PACKAGE}/runtime.py`, own(`runtime_${server.kind}.py`)],
        [`${PACKAGE}/schemas.py`, schemas(sample("mf_demo/schemas.py"), server)],
        ["model/model.json", card(server)],
        ["tests/__init__.py", ""],
        ["tests/test_server.py", own("tests/test_server.py")],
        ["README.md", readme(server)],
    ]);
}

/** A text that must stand in a file exactly once, and what takes its place. */
type Change = readonly [from: string | RegExp, to: string];

const CHANGES: Readonly<Record<string, ((server: ModelServer) => readonly Change[]) | undefined>> = {
    "__init__.py": ({ name }) => [
        [/^"""[^\n]*"""/, `"""The API ${name}, made by \`ml-api new\`: python -m ${PACKAGE}."""`],
    ],
    "app.py": ({ name, description: { answers } }) => [
        ['title="mf-demo"', `title=${JSON.stringify(name)}`],
        [/description="Tells which[^"]*"/, `description="Answers with the model of ${name}."`],
        ["Classify one wine or a batch.", "Answer one input or a batch."],
        ["[wine.row() for wine in body.inputs]", "[row.row() for row in body.inputs]"],
        ...(answers === "value" ? [["labels(prediction.label)", 'labels("value")'] as const] : []),
    ],
};

/** @throws Error when a change does not fit exactly once */
function adapted(text: string, changes: readonly Change[], file: string): string {
    const changed = changes.reduce((before, [from, to]) => {
        const places = typeof from === "string" ? before.split(from).length - 1 : from.test(before) ? 1 : 0;
        if (places !== 1) {
            const what = typeof from === "string" ? from : from.source;
            throw new Error(`${file} has ${places} times what a server is made from: ${what}`);
        }
        return before.replace(from, () => to);
    }, text);
    return changed.replaceAll("mf_demo", PACKAGE);
}

function dockerfile(sample: string): string {
    const changes: readonly Change[] = [
        [/^FROM pip AS train\n[^]*?(?=^FROM pip AS server$)/m, ""],
        [/^ARG PIP_INDEX_URL$/m, `${PIP_ARGUMENTS}\nARG PIP_INDEX_URL`],
        ["COPY --from=train /train/model /app/model", "COPY model /app/model"],
    ];
    return adapted(sample, changes, `${SAMPLE}/Dockerfile`);
}

const PIP_ARGUMENTS =
    "# Both optional, as is a pip.conf mounted at /etc/pip.conf; that one also keeps an index password out of the build's history.";

/** `ml-api image` and `docker build` leave it out; what is not named here changes the image. */
const IGNORED = `.dockerignore
README.md
requirements.in
tests
**/__pycache__
**/*.pyc
.pytest_cache
.venv
`;

function requirements(sample: (file: string) => string, kind: ModelKind): [string, string][] {
    const direct = [...sample("requirements.in").matchAll(/^([a-z0-9][a-z0-9._-]*)==/gm)].map(([, name = ""]) => name);
    const names = kind === "onnx" ? direct : [...direct.filter((name) => name !== "onnxruntime"), "scikit-learn"];
    const files = [sample("requirements.txt"), sample("requirements-train.txt")];
    const lines = names.map((name) => `${name}==${pinnedVersion(files, name) ?? ""}`);
    return [
        [
            "requirements.in",
            `# What the server needs, and nothing else. After an edit: see README.md.\n${lines.join("\n")}\n`,
        ],
        [
            "requirements.txt",
            `# Taken from the sample API's; after an edit of requirements.in: see README.md.\n${pinnedSubset(files, names)}`,
        ],
    ];
}

/** The sample's schemas with the model's inputs in the place of its wine, and its kind of answer. */
function schemas(sample: string, { modelFile, description }: ModelServer): string {
    const { features, answers } = description;
    const fields = features.map((name, index) => `    f${index}: Number = Field(alias=${JSON.stringify(name)})`);
    const row = `# Numbers only ("13.2" and true are refused), finite ones, and none that a 32-bit float cannot hold.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-3.4e38, le=3.4e38)]


class Row(BaseModel):
    """What ${path.basename(modelFile)} takes. The order is the model's order of features; the names are the JSON keys."""

    # A misspelt name is an error, not a silently missing number.
    model_config = ConfigDict(extra="forbid")

${fields.join("\n")}

    def row(self) -> list[float]:
        return [getattr(self, name) for name in Row.model_fields]


FEATURES = [str(field.alias) for field in Row.model_fields.values()]
`;
    const prediction: Readonly<Record<typeof answers, readonly Change[]>> = {
        probabilities: [],
        label: [[/^ {4}probabilities: [^\n]*\n/m, ""]],
        value: [
            [/^ {4}label: [^\n]*\n/m, '    value: float = Field(description="What the model answered.")\n'],
            [/^ {4}probabilities: [^\n]*\n/m, ""],
        ],
    };
    const changes: readonly Change[] = [
        [/^"""[^\n]*"""/, '"""What goes in and what comes out, as types: made from the model by `ml-api new`."""'],
        [/^# Numbers only[^]*?^FEATURES = [^\n]*\n/m, row],
        ["Annotated[list[Wine],", "Annotated[list[Row],"],
        ["json_schema_input_type=Wine | Batch", "json_schema_input_type=Row | Batch"],
        ["One wine, or a list", "One input, or a list"],
        ...prediction[answers],
    ];
    return adapted(sample, changes, `${SAMPLE}/mf_demo/schemas.py`);
}

function card({ name, modelFile, description }: ModelServer): string {
    const { features, classes, sample, library } = description;
    const sha256 = createHash("sha256").update(fs.readFileSync(modelFile)).digest("hex");
    return JSON.stringify(
        { name, file: path.basename(modelFile), library, features, classes, sha256, sample },
        undefined,
        2,
    );
}

function readme({ name, kind, modelFile, description }: ModelServer): string {
    const code =
        kind === "sklearn"
            ? "\nThe file runs code of its own when it is loaded, as every pickle does: take it from people you trust only.\n"
            : "";
    return `# ${name}

Made by \`ml-api new\` from \`${path.basename(modelFile)}\` (${description.library}), to keep the
[image contract](../../../docs/image-contract.md). The code is that of the [sample API](../../../examples/mf-demo/README.md); yours to change.
${code}
## Another version of the model

Replace the file in \`model/\` and in \`model/model.json\` its \`sha256\` and the answer to its sample; then, from the checkout's root,
\`npx --no ml-api image --write\` puts the new content tag into the values files. Other inputs or classes: \`Row\` in \`${PACKAGE}/schemas.py\` and the
card's \`features\` and \`classes\`.

## Test it

From this folder, with Python 3.11:

\`\`\`sh needs=index
python3.11 -m venv /tmp/${name}
/tmp/${name}/bin/pip install --require-hashes --only-binary :all: -r ../../../examples/mf-demo/requirements-test.txt
/tmp/${name}/bin/python -m pytest -p no:cacheprovider tests
\`\`\`

## Change a dependency

Edit \`requirements.in\`, then compile it with uv:

\`\`\`sh needs=uv
uv pip compile --quiet --generate-hashes --python-version 3.11 --custom-compile-command "see README.md" requirements.in -o requirements.txt
\`\`\`
`;
}

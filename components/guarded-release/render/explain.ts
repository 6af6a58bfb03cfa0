import * as fs from "node:fs";
import * as path from "node:path";
import type { Problem } from "../../config/problem";
import type { Places } from "../../config/values";
import {
    adviceOnUnknownKey,
    descriptionAt,
    keysAt,
    readValuesSchema,
    type ValuesSchema,
} from "../../config/values-schema";

/** Where a person set the values that a chart refuses. */
export interface Origin {
    /** The file to look at when nothing more is known, such as the values file. */
    readonly file: string;
    /** Where each value stands, by its dotted path: `image.tag` → `chart/…/values-dev.yaml:4`. */
    readonly places: Places;
}

export interface ExplainArgs {
    /** Chart folder, relative to `root`. */
    readonly chart: string;
    readonly origin: Origin;
    /** The project's root folder. Default: the working directory. */
    readonly root?: string;
}

/** A failed render in words: what failed, and each thing that is wrong. */
export interface Explained {
    readonly subject: string;
    readonly problems: readonly Problem[];
}

/**
 * Turns what Helm prints when a chart cannot be rendered into problems that name the line to look at and the nearest right key.
 * Helm's words stay as they are; a message that is not understood is kept whole.
 *
 * Understood are violations of values.schema.json (as Helm 3.18 and later write them, and as Helm did before), the sentences of
 * `fail` and `required`, and errors in templates, in what they render to and in the chart's own files.
 */
export function explain(message: string, args: ExplainArgs): Explained {
    const own = ownWords(message);
    const chart = new ChartFolder(args);
    const cannot = `the chart ${args.chart} cannot be rendered`;
    const subject = `${cannot} with these values`;

    const refused = /^values don't meet the specifications of the schema\(s\)[^\n]*\n(.*)$/s.exec(own);
    if (refused !== null) {
        // Helm's own order changes from run to run.
        const problems = schemaProblems(refused[1] ?? "", chart).sort((a, b) => byPlace(a.where, b.where));
        return { subject, problems };
    }

    const failed = /^execution error at \(([^)]*)\):\s*(.*)$/s.exec(own);
    if (failed !== null) {
        const [, at = "", text = ""] = failed;
        const { lead, problems } = sentenceProblems(text, chart.template(at), chart);
        return { subject: lead === "" ? subject : `${cannot}: ${lead}`, problems };
    }
    return { subject, problems: [chartProblem(own, chart)] };
}

const { compare: byPlace } = new Intl.Collator("en", { numeric: true });

/** Peels what Pulumi and Helm's command line wrap around Helm's own words. */
function ownWords(message: string): string {
    return message
        .replace(/^.*?kubernetes:helm:template[^:]*:\s*/s, "")
        .replace(/^(?:failed to (?:create chart from template|generate YAML for specified Helm chart):\s*)+/, "")
        .replace(/^Error: /, "")
        .replace(/\s*Use --debug flag to render out invalid YAML\s*$/, "")
        .trim();
}

/** A chart, as far as it takes to say where something stands. */
class ChartFolder {
    private readonly folder: string;
    private readonly shown: string;
    private readonly origin: Origin;

    constructor({ chart, origin, root = process.cwd() }: ExplainArgs) {
        this.folder = path.resolve(root, chart);
        this.shown = path.posix.normalize(chart);
        this.origin = origin;
    }

    /** Name in Chart.yaml; empty when there is none. */
    name(): string {
        const file = path.join(this.folder, "Chart.yaml");
        const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
        return /^name:\s*["']?([^"'\s#]+)/m.exec(text)?.[1] ?? "";
    }

    /** The schema of the chart's values, or of those of the subchart that gets the values below `prefix`. */
    schema(prefix: readonly string[] = []): ValuesSchema | undefined {
        return readValuesSchema(path.join(this.folder, ...prefix.flatMap((name) => ["charts", name])));
    }

    /** A file of the chart, as people find it from the project's root. */
    file(name: string): string {
        return path.posix.join(this.shown, name);
    }

    /** `ml-api/templates/service.yaml:3:14`, which is how Helm names a template, as people find it. */
    template(helmName: string): string {
        return this.file(helmName.slice(helmName.indexOf("/") + 1));
    }

    /** The line that sets a value, else the one of the nearest map around it that a file sets, else the file. */
    place(value: readonly string[]): string {
        for (let length = value.length; length > 0; length--) {
            const place = this.origin.places.get(value.slice(0, length).join("."));
            if (place !== undefined) return place;
        }
        return this.origin.file;
    }

    sets(value: readonly string[]): boolean {
        return this.origin.places.has(value.join("."));
    }
}

// Violations of values.schema.json

/** One line of Helm's list, with the lines that stand below it. */
interface Finding {
    readonly text: string;
    readonly inner: Finding[];
}

function schemaProblems(list: string, chart: ChartFolder): Problem[] {
    const own = chart.name();
    // One section per chart that has something to refuse, each begins with the chart's name.
    return list
        .split(/^(?=[^\s-][^\n]*:$)/m)
        .filter((section) => section.trim() !== "")
        .flatMap((section) => {
            const [header = "", ...lines] = section.trimEnd().split("\n");
            const name = header.replace(/:$/, "");
            const prefix = name === own ? [] : [name];
            const found = findingsOf(lines);
            if (found === undefined) {
                // Not the values but the schema itself is wrong, or Helm says something new.
                const where = prefix.length > 0 ? chart.place(prefix) : chart.file("values.schema.json");
                const said = lines.join("\n").trim();
                return [{ where, what: said === "" || prefix.length === 0 ? said || header : `${name}: ${said}` }];
            }
            const problems = found.flatMap(leavesOf).flatMap((finding) => findingProblems(finding, prefix, chart));
            return prefix.length === 0 ? problems : problems.map((one) => ({ ...one, what: `${name}: ${one.what}` }));
        });
}

/** Reads the lines of a section into a tree; undefined when they are no list. */
function findingsOf(lines: readonly string[]): Finding[] | undefined {
    const top: Finding[] = [];
    const open: { indent: number; inner: Finding[] }[] = [{ indent: -1, inner: top }];
    for (const line of lines) {
        const bullet = /^( *)- (.*)$/.exec(line);
        if (bullet === null) return undefined;
        const [, { length: indent } = "", text = ""] = bullet;
        while ((open.at(-1)?.indent ?? -1) >= indent) open.pop();
        const finding: Finding = { text, inner: [] };
        open.at(-1)?.inner.push(finding);
        open.push({ indent, inner: finding.inner });
    }
    return top.length > 0 ? top : undefined;
}

/** All that must hold together is told one by one; alternatives (`anyOf`, `oneOf`) stay together. */
function leavesOf(finding: Finding): Finding[] {
    const onlyGroups = finding.inner.length > 0 && /: (?:validation failed|'allOf' failed)$/.test(finding.text);
    return onlyGroups ? finding.inner.flatMap(leavesOf) : [finding];
}

function findingProblems(finding: Finding, prefix: readonly string[], chart: ChartFolder): Problem[] {
    const schema = chart.schema(prefix);
    const { at, said, words } = located(finding.text);
    if (at === undefined) return [{ where: chart.place(prefix), what: textOf(finding) }];
    const shown = (inner: readonly string[]) => [...prefix, ...inner].join(".");

    const unknown = namesIn(
        words,
        /^additional properties (.*) not allowed$/,
        /^Additional property (.*) is not allowed$/,
    );
    if (unknown !== undefined) {
        const told = (name: string) => (unknown.length === 1 ? words : `additional properties '${name}' not allowed`);
        return unknown.map((name) => {
            const { meant, fix } = adviceOnUnknownKey(schema, at, name);
            const what = `${said}: ${told(name)}${meant}`;
            return { where: chart.place([...prefix, ...at, name]), what, ...(fix === undefined ? {} : { fix }) };
        });
    }

    const missing = namesIn(words, /^missing propert(?:y|ies) (.*)$/, /^(.*) is required$/);
    if (missing !== undefined) {
        return missing.map((name) => {
            const key = [...at, name];
            const setToNull = chart.sets([...prefix, ...key]);
            const what = `${said}: ${missing.length === 1 ? words : `missing property '${name}'`}`;
            const fix = setToNull
                ? "null takes the chart's default away: give a value, or remove the line"
                : meaning(key);
            return { where: chart.place([...prefix, ...key]), what, ...(fix === undefined ? {} : { fix }) };
        });
    }

    const fix = meaning(at);
    return [{ where: chart.place([...prefix, ...at]), what: textOf(finding), ...(fix === undefined ? {} : { fix }) }];

    function meaning(value: readonly string[]): string | undefined {
        const description = schema === undefined ? undefined : descriptionAt(schema, value);
        return description === undefined || value.length === 0 ? undefined : `${shown(value)}: ${description}`;
    }
}

/** The value that a line is about: `at '/api/port': …` of Helm 3.18 and later, `api.port: …` before. */
function located(text: string): { at?: string[]; said: string; words: string } {
    const pointer = /^(at '((?:[^'\\]|\\.)*)'): (.*)$/s.exec(text);
    if (pointer !== null) {
        const [, said = "", quoted = "", words = ""] = pointer;
        const tokens = unquote(quoted).split("/").slice(1);
        return { at: tokens.map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~")), said, words };
    }
    const dotted = /^(\(root\)|[^\s:]+): (.*)$/s.exec(text);
    if (dotted === null) return { said: "", words: text };
    const [, said = "", words = ""] = dotted;
    return { at: said === "(root)" ? [] : said.split("."), said, words };
}

/** The names in a sentence of either wording: `'a', 'b'` in the new one, a bare one in the old one. */
function namesIn(words: string, now: RegExp, before: RegExp): string[] | undefined {
    const list = now.exec(words)?.[1];
    if (list !== undefined) return [...list.matchAll(/'((?:[^'\\]|\\.)*)'/g)].map(([, name = ""]) => unquote(name));
    const name = before.exec(words)?.[1];
    return name === undefined ? undefined : [name];
}

function unquote(quoted: string): string {
    try {
        return JSON.parse(`"${quoted.replaceAll("\\'", "'").replaceAll('"', '\\"')}"`) as string;
    } catch {
        return quoted;
    }
}

function textOf({ text, inner }: Finding): string {
    return [text, ...inner.map((one) => `- ${textOf(one)}`.replaceAll(/^/gm, INDENT))].join("\n");
}

const INDENT = "      ";

// Sentences of `fail` and `required`

/** A chart that tells several things at once writes them as a list; what stands before it is its lead. */
function sentenceProblems(text: string, template: string, chart: ChartFolder): { lead: string; problems: Problem[] } {
    const [lead = "", ...items] = text.trim().split(/^- /m);
    if (items.length === 0)
        return { lead: "", problems: [{ where: sentencePlace(lead, chart) ?? template, what: lead }] };
    const problems = items.map((item) => ({
        where: sentencePlace(item, chart) ?? template,
        what: item.trim().replaceAll(/\n(?=[^\n])/g, `\n${INDENT}`),
    }));
    return { lead: lead.trim().replace(/:$/, ""), problems };
}

/** The place of the value whose dotted path a sentence begins with. */
function sentencePlace(sentence: string, chart: ChartFolder): string | undefined {
    const value = (/^[^\s:,;]+/.exec(sentence)?.[0] ?? "").replace(/\.$/, "").split(".");
    const [first = ""] = value;
    const schema = chart.schema();
    const known = chart.sets([first]) || (schema !== undefined && keysAt(schema, []).includes(first));
    return known ? chart.place(value) : undefined;
}

// Errors in templates and in the chart's own files

function chartProblem(own: string, chart: ChartFolder): Problem {
    // A chain of included templates ends with the one that is wrong.
    const [, line] = [...own.matchAll(/template: ([^\s:]+:\d+(?::\d+)?)/g)].at(-1) ?? [];
    if (line !== undefined) return { where: chart.template(line), what: own };

    const unparsed = /^parse error at \(([^)]+)\)/.exec(own)?.[1];
    if (unparsed !== undefined) return { where: chart.template(unparsed), what: own };

    const notYaml = /^YAML parse error on ([^\s:]+):/.exec(own)?.[1];
    if (notYaml !== undefined) {
        const fix = "the line counts in the text that the template renders to; `helm template --debug` prints it";
        return { where: chart.template(notYaml), what: own, fix };
    }

    const unreadable = /^cannot load (\S+?):/.exec(own)?.[1];
    if (unreadable !== undefined) return { where: chart.file(unreadable), what: own };

    const aboutChart = /chart\.metadata|Chart\.yaml|^chart requires kubeVersion/.test(own);
    return { where: chart.file(aboutChart ? "Chart.yaml" : ""), what: own };
}

import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { blockedProblems, readBlocked } from "./blocked";
import { type ConfigKey, SECRET_KEYS, undeclaredKey } from "./config-keys";
import { API_NAME_LENGTH, creationProblem, nameProblem, NAMESPACE_LENGTH } from "./names";
import { didYouMean } from "./nearest";
import { InputError, type Problem } from "./problem";
import { type ConfigText, ENCRYPTED, readStackFile, stackFileName } from "./stack-file";
import { unusedValuesFiles } from "./unused-values-files";
import { isValues, leaves, mergeValues, parseValues, type Places, readValuesFile, type Values } from "./values";
import { environmentsIn, findValuesFile } from "./values-file";

/** Everything a stack says, read once, checked, with its defaults filled in. */
export interface Settings {
    /** dev, staging or production: selects the values file, and the rules that hold outside dev. */
    readonly environment: string;
    /** Name of the API and of its Helm release. */
    readonly name: string;
    readonly namespace: string;
    readonly createNamespace: boolean;
    /** Number of the API key in use, from 1. */
    readonly keyGeneration: number;
    readonly acceptPreviousKey: boolean;
    /** The key itself when the stack gives one; otherwise a random one is made per generation. */
    readonly apiKey: pulumi.Output<string> | undefined;
    readonly previousApiKey: pulumi.Output<string> | undefined;
    readonly protect: boolean;
    /** The values file, relative to the project's root. */
    readonly valuesFile: string;
    /** The values file with the stack's own `values` laid over it. */
    readonly values: Values;
    /** Where each of these values stands, by its dotted path: the line of the values file, or of the stack file that wins over it. */
    readonly places: Places;
    /** Values that both the values file and the stack file set; the stack file wins. */
    readonly overrides: readonly Override[];
}

export interface Override {
    readonly path: string;
    readonly valuesFilePlace: string;
    readonly stackFilePlace: string;
}

/** What the settings are read from; {@link loadSettings} takes it from the running Pulumi program. */
export interface Source {
    readonly project: string;
    readonly stack: string;
    /** The project's root folder. */
    readonly root: string;
    /** All configuration, `namespace:key` → text, as Pulumi hands it to a program. */
    readonly config: Readonly<Record<string, ConfigText>>;
    readonly isSecret: (key: string) => boolean;
}

/** Reads the settings of the stack that Pulumi is running. @throws InputError with every problem of stack and values file */
export function loadSettings(): Settings {
    // Not in the SDK's types, but it is how the SDK itself tells a secret key from a plain one.
    const { isConfigSecret } = pulumi.runtime as unknown as { isConfigSecret: (key: string) => boolean };
    const source: Source = {
        project: pulumi.getProject(),
        stack: pulumi.getStack(),
        root: process.cwd(),
        config: pulumi.runtime.allConfig(),
        isSecret: isConfigSecret,
    };
    const settings = readSettings(source);
    const unused = unusedValuesFiles(source.root, [settings.valuesFile]);
    if (unused.length > 0) throw new InputError(`project "${source.project}"`, unused);
    const { values, places, valuesFile } = settings;
    const blocked = blockedProblems(readBlocked(source.root), values, places, valuesFile);
    if (blocked.length > 0) throw new InputError(`stack "${source.stack}"`, blocked);
    return settings;
}

/** Reads and checks settings; see {@link Settings}. @throws InputError with every problem at once */
export function readSettings(source: Source): Settings {
    const stackFile = stackFileName(source.stack);
    const { places, problems: found } = readStackFile(source.root, source.stack, source.project);
    const problems: Problem[] = [...found];
    const full = (key: string) => `${source.project}:${key}`;
    const where = (key: string) => {
        const place = places.get(full(key));
        return place === undefined ? `config key ${key}` : `${place} (${key})`;
    };
    const report = (key: string, what: string, fix?: string) => {
        problems.push({ where: where(key), what, ...(fix === undefined ? {} : { fix }) });
    };
    const text = (key: ConfigKey): string | undefined => {
        const value = source.config[full(key)];
        return value === undefined || value === "" || value === ENCRYPTED ? undefined : value;
    };
    const flag = (key: ConfigKey, byDefault: boolean): boolean => {
        const value = text(key);
        if (value === undefined || value === "true" || value === "false")
            return value === undefined ? byDefault : value === "true";
        report(key, `"${value}" is neither true nor false`);
        return byDefault;
    };
    const secret = (key: ConfigKey): pulumi.Output<string> | undefined => {
        // Without Pulumi nobody can read it, and nobody deploys it: it is enough to know that there is one.
        if (source.config[full(key)] === ENCRYPTED) return pulumi.secret(pulumi.unknown as unknown as string);
        const value = text(key);
        if (value === undefined) return undefined;
        if (!source.isSecret(full(key))) {
            report(
                key,
                "a key stands in the stack file in clear",
                `pulumi config set --secret ${key}; then make a new key, this one has been seen`,
            );
        } else if (!/^[\x21-\x7e]{16,}$/.test(value)) {
            report(key, "the key is too weak: it needs at least 16 visible ASCII characters, without spaces");
        }
        return pulumi.secret(value);
    };

    for (const key of Object.keys(source.config)) checkKey(key);

    const name = text("name") ?? "mf-demo";
    checkName("name", name, API_NAME_LENGTH);
    const namespace = text("namespace") ?? `${name}-${source.stack}`;
    // A derived name would only repeat what is wrong with the API's name.
    if (text("namespace") !== undefined || problems.length === 0) checkName("namespace", namespace, NAMESPACE_LENGTH);
    const createNamespace = flag("createNamespace", true);
    const taken = createNamespace ? creationProblem(namespace) : undefined;
    if (taken !== undefined) report("namespace", taken.what, taken.fix);

    const generationText = text("keyGeneration") ?? "1";
    const keyGeneration = /^[1-9][0-9]{0,3}$/.test(generationText) ? Number(generationText) : 0;
    if (keyGeneration === 0) report("keyGeneration", `"${generationText}" is not a whole number from 1 to 9999`);
    const acceptPreviousKey = flag("acceptPreviousKey", false);
    if (acceptPreviousKey && keyGeneration === 1) {
        report("acceptPreviousKey", "key generation 1 has no key before it", "raise keyGeneration by one as well");
    }
    const apiKey = secret("apiKey");
    const previousApiKey = secret("previousApiKey");
    if (previousApiKey !== undefined && (apiKey === undefined || !acceptPreviousKey)) {
        report(
            "previousApiKey",
            "it only counts together with apiKey and acceptPreviousKey: true",
            "pulumi config rm previousApiKey",
        );
    }
    if (apiKey !== undefined && acceptPreviousKey && previousApiKey === undefined) {
        report(
            "acceptPreviousKey",
            "the stack gives apiKey itself, so it has to give the key before, too",
            "pulumi config set --secret previousApiKey",
        );
    }
    const protect = flag("protect", false);

    const { environment, valuesFile, values, places: valuePlaces, overrides } = readAllValues();
    if (problems.length > 0) throw new InputError(`stack "${source.stack}"`, problems);
    return {
        environment,
        name,
        namespace,
        createNamespace,
        keyGeneration,
        acceptPreviousKey,
        apiKey,
        previousApiKey,
        protect,
        valuesFile,
        values,
        places: valuePlaces,
        overrides,
    };

    function checkKey(key: string): void {
        const own = key.startsWith(full("")) ? key.slice(full("").length) : undefined;
        const undeclared = undeclaredKey(source.project, key);
        if (undeclared !== undefined) {
            const place = own === undefined ? (places.get(key) ?? "config key") + ` (${key})` : where(own);
            problems.push({ where: place, ...undeclared });
        } else if (own !== undefined && source.isSecret(key) && ![...SECRET_KEYS, "values"].includes(own)) {
            report(
                own,
                `it is encrypted, and only ${SECRET_KEYS.join(" and ")} are secrets`,
                `pulumi config set --plaintext ${own} <value>`,
            );
        }
    }

    function checkName(key: ConfigKey, value: string, longest: number): void {
        const what = nameProblem(value, longest);
        if (what !== undefined) report(key, what);
    }

    function readAllValues(): Pick<Settings, "environment" | "valuesFile" | "values" | "places" | "overrides"> {
        const none = { environment: "", valuesFile: "", values: {}, places: new Map<string, string>(), overrides: [] };
        const over = stackValues();
        const valuesDir = text("valuesDir") ?? "chart/environment";
        if (path.isAbsolute(valuesDir) || path.posix.normalize(valuesDir).startsWith("..")) {
            report(
                "valuesDir",
                `"${valuesDir}" is outside the project`,
                "name a folder relative to the project's root, such as apis/my-api",
            );
            return none;
        }
        const known = environmentsIn(source.root, valuesDir);
        const environment = text("environment");
        if (known.length === 0) {
            report("valuesDir", `${valuesDir} holds no values-<environment>.yaml`);
            return none;
        }
        if (environment === undefined) {
            report("environment", `is missing in ${stackFile}`, `pulumi config set environment <${known.join("|")}>`);
            return none;
        }
        const valuesFile = known.includes(environment)
            ? findValuesFile(source.root, valuesDir, environment)
            : undefined;
        if (valuesFile === undefined) {
            report(
                "environment",
                `"${environment}" has no values file in ${valuesDir}${didYouMean(environment, known)}`,
                `the environments are ${known.join(", ")}`,
            );
            return none;
        }
        const file = collect(() => readValuesFile(path.join(source.root, valuesFile), valuesFile));
        if (file === undefined) return none;
        const values = mergeValues(file.values, over);
        checkEnvironment(environment, valuesFile, values);
        const valuePlaces = new Map([...file.places, ...stackValuePlaces()]);
        return { environment, valuesFile, values, places: valuePlaces, overrides: findOverrides(file, over) };
    }

    function stackValues(): Values {
        const given = text("values");
        if (source.isSecret(full("values"))) {
            report(
                "values",
                "a secret stands among the chart's values",
                "put it into a Kubernetes Secret and name that Secret in the values",
            );
            return {};
        }
        if (given === undefined) return {};
        // Pulumi has made JSON of it by now; a text that is no map comes from `pulumi config set values <text>`.
        const parsed = collect(() => parseValues(given, where("values")))?.values;
        return isValues(parsed) ? parsed : {};
    }

    function stackValuePlaces(): [string, string][] {
        const prefix = full("values.");
        return [...places].flatMap(([path, place]): [string, string][] =>
            path.startsWith(prefix) ? [[path.slice(prefix.length), place]] : [],
        );
    }

    function findOverrides(file: { values: Values; places: Places }, over: Values): Override[] {
        return leaves(over).flatMap(([path]) => {
            const valuesFilePlace = file.places.get(path);
            if (valuesFilePlace === undefined || path === "environment") return [];
            return [{ path, valuesFilePlace, stackFilePlace: places.get(full(`values.${path}`)) ?? stackFile }];
        });
    }

    function checkEnvironment(environment: string, valuesFile: string, values: Values): void {
        const said = values["environment"];
        if (said === environment) return;
        const found =
            said === undefined ? "does not say which environment it is" : `says environment: ${JSON.stringify(said)}`;
        report(
            "environment",
            `the stack says "${environment}", but ${valuesFile} ${found}`,
            `write \`environment: ${environment}\` there, or correct the stack`,
        );
    }

    /** Runs a reader; its problems join the others. */
    function collect<T>(read: () => T): T | undefined {
        try {
            return read();
        } catch (error) {
            if (!(error instanceof InputError)) throw error;
            problems.push(...error.problems);
            return undefined;
        }
    }
}

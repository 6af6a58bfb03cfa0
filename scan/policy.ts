import { join } from "node:path";
import { checkoutRoot } from "../local/paths";
import { evaluate, readSettings, staleExemptions } from "../policy/evaluate";
import { environments } from "../test/chart/helm";
import type { Render } from "./renders";
import type { Looked } from "./scanner";

/** The rules of policy/ over the environments, with its own exemptions; the examples in chart/ci stand for nobody's deploy. */
export function policy(renders: readonly Render[]): Looked {
    const settings = readSettings(join(checkoutRoot, "policy"));
    const deployed = environments.map((environment) => {
        const render = renders.find(({ name }) => name === environment);
        if (render === undefined) throw new Error(`there is no render of ${environment}`);
        return { environment, ...render };
    });
    const found = deployed.flatMap(({ environment, objects }) => evaluate({ environment, objects }, settings));
    const open = found.filter(({ exemption, level }) => exemption === undefined && level === "mandatory");
    return {
        findings: [
            ...open.map(({ rule, where, what, fix, environment }) => ({
                check: rule,
                object: where,
                render: environment,
                message: `${what} → ${fix}`,
            })),
            ...staleExemptions(settings, found).map(({ where, what }) => ({
                check: "stale",
                object: where,
                message: what,
            })),
        ],
        at: `${deployed.flatMap(({ objects }) => objects).length} objects`,
    };
}

import { expect } from "chai";
import * as path from "node:path";
import { checkoutRoot } from "../../local/paths";
import { writeYaml } from "../../local/plugins/kubernetes/manifest";
import { ATTACKS, OBEYED } from "../fuzz/hostile";
import {
    containerIn,
    deploymentIn,
    environmentOf,
    helm,
    type KubernetesObject,
    merged,
    objectsIn,
    only,
    renderObjects,
    smallest,
    type Values,
} from "./helm";

/** What somebody writes into a values file is a text in the object that it is for: no template, no other field, no other object. */
describe("chart: hostile values", function () {
    this.timeout(30_000);
    const plain = renderObjects(smallest);
    /** Handed to Helm as the command hands them. */
    const render = (values: Values): KubernetesObject[] => {
        const args = ["template", "mf-demo", path.join(checkoutRoot, "chart"), "--kube-version", "1.34.0", "-f", "-"];
        const { status, stdout, stderr } = helm(args, writeYaml(values as Parameters<typeof writeYaml>[0]));
        expect(status, stderr).to.equal(0);
        return objectsIn(stdout);
    };
    const kinds = (objects: typeof plain) => objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`).sort();

    it("are the texts of variables, one for one", () => {
        const env = Object.fromEntries(ATTACKS.map((text, index) => [`HOSTILE_${index}`, text]));
        const objects = render(merged(smallest, { env }));
        expect(kinds(objects)).to.deep.equal(kinds(plain));
        const found = environmentOf(containerIn(deploymentIn(objects).spec.template));
        // Kubernetes puts the value of a variable in the place of $(NAME), unless the $ stands twice.
        const escaped = Object.entries(env).map(([name, text]) => [name, text.replaceAll("$", "$$$$")]);
        expect(found).to.include(Object.fromEntries(escaped));
    });

    it("are the values of annotations", () => {
        // Helm refuses the others, with the template's name.
        const shown = ATTACKS.filter((text) => !OBEYED.test(text));
        const annotations = Object.fromEntries(shown.map((text, index) => [`example.org/hostile-${index}`, text]));
        const objects = render(
            merged(smallest, { ingress: { enabled: true, className: "traefik", host: "a.example.org", annotations } }),
        );
        expect(only(objects, "Ingress").metadata.annotations).to.include(annotations);
    });
});

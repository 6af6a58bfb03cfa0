import { createRequire } from "node:module";
import type { Companion } from "./operation";

const load = createRequire(__filename);

/**
 * In the order in which they start; they end in the opposite one. Each is loaded when it is needed: a preview needs none of them.
 */
export const companions: readonly Companion[] = [
    (operation) => (load("./hold/obey") as typeof import("./hold/obey")).obeyHold(operation),
    (operation) => (load("./diagnose/companion") as typeof import("./diagnose/companion")).diagnosis(operation),
    (operation) => (load("./record/record-labels") as typeof import("./record/record-labels")).recordLabels(operation),
];

/** What comes before every operation; see there. */
export const beginOperation: (typeof import("./recover/begin"))["beginOperation"] = (event, open, target) =>
    (load("./recover/begin") as typeof import("./recover/begin")).beginOperation(event, open, target);

/** What a preview of a change is to say beforehand; that a hold after a rollback would refuse it. */
export const holdWarning: (typeof import("./hold/obey"))["holdWarning"] = (access, owner) =>
    (load("./hold/obey") as typeof import("./hold/obey")).holdWarning(access, owner);

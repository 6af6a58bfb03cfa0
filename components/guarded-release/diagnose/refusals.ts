import type { Fault } from "./finding";

/**
 * Why the API server does not take an object; its words for a pod that a ReplicaSet or Job wanted to make, or for an object that
 * Helm sent. Undefined when it says nothing of the kind.
 */
export function refusalFault(message: string): Fault | undefined {
    const fault = { certain: true, healable: false };
    const quota = /exceeded quota: (\S+), requested: (.*), used: (.*), limited: (.*)/.exec(message);
    if (quota !== null) {
        const [, name = "", requested = "", used = "", limited = ""] = quota;
        const sentence = `the quota ${name} of the namespace is used up: a pod asks for ${requested}; in use are ${used} of ${limited}`;
        const fix = "free some of it, lower resources.requests or replicas, or have the quota raised";
        return { ...fault, problem: "quota", sentence, fix };
    }
    const unsized = /failed quota: (\S+): must specify (.*)/.exec(message);
    if (unsized !== null) {
        const sentence = `the quota ${unsized[1] ?? ""} of the namespace takes no pod that does not say ${unsized[2] ?? ""}`;
        return { ...fault, problem: "quota-size", sentence, fix: "set it under resources" };
    }
    const range = /(?:minimum|maximum) \S+ usage per (?:Container|Pod) is .*/.exec(message);
    if (range !== null) {
        const sentence = `a LimitRange of the namespace refuses the pod: ${range[0]}`;
        return { ...fault, problem: "limit-range", sentence, fix: "keep resources within that range" };
    }
    const security = /violates PodSecurity "([^"]*)": (.*)/s.exec(message);
    if (security !== null) {
        const sentence = `Pod Security of the namespace (${security[1] ?? ""}) refuses the pod: ${security[2] ?? ""}`;
        const fix =
            "remove what asks for more than that level allows (merge.pod, merge.container), or have the namespace's label pod-security.kubernetes.io/enforce changed";
        return { ...fault, problem: "pod-security", sentence, fix };
    }
    const dead = /failed calling webhook "([^"]*)": (?:failed to call webhook: )?(.*)/s.exec(message);
    if (dead !== null) {
        const sentence = `the admission webhook ${dead[1] ?? ""}, which every such object has to pass, does not answer: ${dead[2] ?? ""}`;
        const fix = "bring the webhook's service up again, or ask who runs it";
        return { ...fault, problem: "webhook", healable: true, sentence, fix };
    }
    const denied = /admission webhook "([^"]*)" denied the request:? ?(.*)/s.exec(message);
    if (denied !== null) {
        const sentence = `the admission webhook ${denied[1] ?? ""} refuses it: ${denied[2] ?? ""}`;
        return {
            ...fault,
            problem: "webhook",
            sentence,
            fix: "do what it asks for, or ask who runs it for an exception",
        };
    }
    const policy = /ValidatingAdmissionPolicy '([^']*)'.*denied request: (.*)/s.exec(message);
    if (policy !== null) {
        const sentence = `the admission policy ${policy[1] ?? ""} of the cluster refuses it: ${policy[2] ?? ""}`;
        return {
            ...fault,
            problem: "policy",
            sentence,
            fix: "do what it asks for, or ask who set it for an exception",
        };
    }
    const account = /error looking up service account \S+: serviceaccount "([^"]*)" not found/.exec(message);
    if (account !== null) {
        const sentence = `the pod wants the ServiceAccount ${account[1] ?? ""}, which is not there`;
        return {
            ...fault,
            problem: "service-account",
            healable: true,
            sentence,
            fix: "create it, or name another one",
        };
    }
    const forbidden = /is forbidden: (.*)/s.exec(message);
    if (forbidden === null) return undefined;
    const sentence = `the API server refuses it: ${forbidden[1] ?? ""}`;
    return {
        ...fault,
        problem: "forbidden",
        healable: true,
        sentence,
        fix: "do what it asks for, or ask who runs the cluster",
    };
}

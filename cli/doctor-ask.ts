import * as http from "node:http";
import * as https from "node:https";

/** Where a server is: a URL, or a Unix socket that leads to it. */
export type Address = { readonly url: string } | { readonly socket: string };

export interface Question {
    readonly method?: "GET" | "POST";
    readonly path: string;
    readonly key?: string | undefined;
    readonly body?: string;
    /** Without Content-Length, in two parts. */
    readonly chunked?: boolean;
    /** Milliseconds; 10 s without it. */
    readonly limit?: number;
}

/** `status` is 0 when there was no answer, and `body` then says why. */
export interface Answer {
    readonly status: number;
    readonly body: string;
    readonly milliseconds: number;
}

/** Asks once; never rejects. */
export async function ask(address: Address, question: Question): Promise<Answer> {
    return begin(address, question).answer;
}

/**
 * Sends a prediction's headers and the first half of its body, and waits: the server has the request, and cannot answer it.
 */
export function hold(address: Address, question: Question): { readonly finish: () => Promise<Answer> } {
    const { body = "" } = question;
    const begun = begin(address, question, Math.floor(body.length / 2));
    return { finish: begun.finish };
}

function begin(
    address: Address,
    { method = "GET", path, key, body, chunked = false, limit = 10_000 }: Question,
    stopAt?: number,
): { answer: Promise<Answer>; finish: () => Promise<Answer> } {
    const began = performance.now();
    const bytes = Buffer.from(body ?? "");
    const headers = {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(body === undefined || chunked ? {} : { "content-length": bytes.length }),
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
    const options = { method, headers, agent: false } as const;
    const request =
        "socket" in address
            ? http.request({ ...options, socketPath: address.socket, path, host: "127.0.0.1" })
            : (address.url.startsWith("https:") ? https : http).request(
                  `${address.url.replace(/\/$/, "")}${path}`,
                  options,
              );
    const answer = new Promise<Answer>((resolve) => {
        const end = (status: number, text: string): void => {
            clearTimeout(timer);
            resolve({ status, body: text, milliseconds: Math.round(performance.now() - began) });
        };
        const timer = setTimeout(() => {
            request.destroy();
            end(0, `no answer within ${limit / 1000} s`);
        }, limit);
        request.on("response", (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(0, 200_000)));
            response.on("end", () => {
                end(response.statusCode ?? 0, text);
            });
            // A refusal may come before all of the body was taken; the connection then ends as it likes.
            response.on("error", () => {
                end(response.statusCode ?? 0, text);
            });
        });
        request.on("error", (error: NodeJS.ErrnoException) => {
            end(0, error.code ?? error.message);
        });
    });
    if (stopAt === undefined) {
        if (chunked) request.write(bytes.subarray(0, Math.ceil(bytes.length / 2)));
        request.end(chunked ? bytes.subarray(Math.ceil(bytes.length / 2)) : bytes);
    } else request.write(bytes.subarray(0, stopAt));
    return {
        answer,
        finish: () => {
            request.end(bytes.subarray(stopAt ?? bytes.length));
            return answer;
        },
    };
}

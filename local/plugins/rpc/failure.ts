import * as grpc from "@grpc/grpc-js";
import { ErrorResourceInitFailed } from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Any } from "google-protobuf/google/protobuf/any_pb";
import type { Properties } from "./properties";
import { toStruct } from "./properties";

/**
 * The operation took place, but its result is not as it should be. The engine records the resource with this error, and
 * its next update tries again.
 */
export class InitFailure extends Error {
    constructor(
        message: string,
        readonly id: string,
        readonly state: Properties,
        readonly inputs?: Properties,
    ) {
        super(message);
        this.name = "InitFailure";
    }
}

export class Unimplemented extends Error {
    override readonly name = "Unimplemented";
}

function detailsOf(failure: InitFailure): grpc.Metadata {
    const detail = new ErrorResourceInitFailed();
    detail.setId(failure.id);
    detail.setProperties(toStruct(failure.state));
    detail.setReasonsList([failure.message]);
    if (failure.inputs !== undefined) detail.setInputs(toStruct(failure.inputs));
    const any = new Any();
    any.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
    const status = new Status();
    status.setCode(grpc.status.UNKNOWN);
    status.setMessage(failure.message);
    status.addDetails(any);
    // gRPC for Go reads structured errors from this header; gRPC for JavaScript has no function that writes it.
    const metadata = new grpc.Metadata();
    metadata.add("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
    return metadata;
}

/** The error as gRPC sends it. An error of a kind that nobody foresaw keeps its stack in the plugin's log. */
export function serviceError(error: unknown): Partial<grpc.StatusObject> {
    if (error instanceof InitFailure) {
        return { code: grpc.status.UNKNOWN, details: error.message, metadata: detailsOf(error) };
    }
    if (error instanceof Unimplemented) return { code: grpc.status.UNIMPLEMENTED, details: error.message };
    if (!(error instanceof Error)) return { code: grpc.status.UNKNOWN, details: String(error) };
    if (error.constructor !== Error) console.error(error.stack);
    return { code: grpc.status.UNKNOWN, details: error.message };
}

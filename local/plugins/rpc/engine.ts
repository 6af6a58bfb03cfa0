import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";

/** Messages shown by the Pulumi command beside a resource. */
export class EngineLog {
    private client: EngineClient | undefined;

    constructor(private address: string) {}

    connect(address: string): void {
        this.address = address;
        this.client = undefined;
    }

    warn(urn: string, message: string): void {
        this.send(LogSeverity.WARNING, urn, message, false);
    }

    info(urn: string, message: string): void {
        this.send(LogSeverity.INFO, urn, message, false);
    }

    /** Shown only while the operation runs, and only on a terminal. */
    status(urn: string, message: string): void {
        this.send(LogSeverity.INFO, urn, message, true);
    }

    private send(severity: LogSeverity, urn: string, message: string, ephemeral: boolean): void {
        if (this.address === "") return;
        this.client ??= new EngineClient(this.address, grpc.credentials.createInsecure());
        const request = new LogRequest();
        request.setSeverity(severity);
        request.setUrn(urn);
        request.setMessage(message);
        request.setEphemeral(ephemeral);
        // An engine that is gone needs no message.
        this.client.log(request, () => undefined);
    }
}

// The program refuses blocked digests, too, so the reader of branching/blocked.yaml stands among what it is deployed with.
export { type BlockedDigest, blockedIn, blockedText, readBlocked } from "../components/config/blocked";

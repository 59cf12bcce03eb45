/** Who this browser is to OpenClaw gateways. */
export interface Device {
  /** The digest of the public key, in hexadecimal. */
  readonly id: string;
  /** Base64url, as the signature. */
  readonly publicKey: string;
  sign(text: string): Promise<string>;
}
export declare function device(): Promise<Device>;
export declare function kept(gateway: string): Promise<string | undefined>;
export declare function keep(gateway: string, text: string): Promise<void>;
export declare function forget(gateway: string): Promise<void>;

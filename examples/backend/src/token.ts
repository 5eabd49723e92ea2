// A JSON Web Token signed with HS256, no more than this application needs of it.
import { createHmac, timingSafeEqual } from 'node:crypto';

interface Claims {
  email: string;
  exp: number;
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = encode({ alg: 'HS256', typ: 'JWT' });

function signature(text: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(text).digest();
}

export function mintToken(email: string, secret: string, seconds = 3600): string {
  const text = `${header}.${encode({ email: email.toLowerCase(), exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${text}.${signature(text, secret).toString('base64url')}`;
}

/** The e-mail address in a token that is genuine and has not expired. */
export function readToken(token: string, secret: string): string | undefined {
  const parts = token.split('.');
  if (parts.length !== 3 || parts[0] !== header) return undefined;
  const given = Buffer.from(parts[2] ?? '', 'base64url');
  const wanted = signature(`${parts[0]}.${parts[1]}`, secret);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
  const claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString()) as Partial<Claims>;
  if (typeof claims.email !== 'string' || typeof claims.exp !== 'number') return undefined;
  return claims.exp > Date.now() / 1000 ? claims.email : undefined;
}

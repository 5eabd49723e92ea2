import { configOrExit } from '../config.ts';
import { mintToken } from '../token.ts';

const email = process.argv[2];
if (!email) {
  console.error('usage: npm run --silent token -- <email>');
  process.exit(2);
}
console.log(mintToken(email, configOrExit().jwtSecret));

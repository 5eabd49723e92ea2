// Writes migration-manifest.json: the name and the SHA-256 of every migration file.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export function manifestOf(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => ({
      name,
      sha256: createHash('sha256').update(readFileSync(path.join(folder, name))).digest('hex'),
    }));
}

export function writeManifest(root) {
  const manifest = manifestOf(path.join(root, 'migrations'));
  writeFileSync(path.join(root, 'migration-manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const manifest = writeManifest(path.resolve(path.dirname(process.argv[1]), '..'));
  console.log(`migration-manifest.json: ${manifest.length} migrations`);
}

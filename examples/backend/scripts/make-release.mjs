// node scripts/make-release.mjs <version> <destination> [--force]
// Makes a checkout of a release: the sources with the migrations that it has, its manifest and version,
// and node_modules as a link to the ones of this checkout.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeManifest } from './manifest.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const releases = JSON.parse(readFileSync(path.join(root, 'releases.json'), 'utf8'));
const [version, destination] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const force = process.argv.includes('--force');

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

const release = releases[version];
if (!release || !destination) {
  fail(`usage: make-release.mjs <version> <destination> [--force]; versions: ${Object.keys(releases).join(', ')}`);
}
const migrations = readdirSync(path.join(root, 'migrations')).filter((name) => name.endsWith('.ts')).sort();
if (!migrations.includes(release.last_migration)) fail(`this checkout is older than ${version}`);
const modules = path.join(root, 'node_modules');
if (!existsSync(modules)) fail('there is no node_modules here: run "npm ci" first');

const target = path.resolve(destination);
if (root === target || root.startsWith(target + path.sep) || target.startsWith(root + path.sep)) {
  fail('the destination and this checkout must not lie in one another');
}
if (existsSync(target) && readdirSync(target).length > 0) {
  const ours = existsSync(path.join(target, 'migration-manifest.json')) && existsSync(path.join(target, 'releases.json'));
  if (!force || !ours) fail('the destination is not empty (--force replaces an earlier checkout)');
  rmSync(target, { recursive: true });
}

mkdirSync(target, { recursive: true });
for (const name of ['.npmrc', '.gitignore', 'README.md', 'releases.json', 'tsconfig.json', 'src', 'scripts', 'tests']) {
  cpSync(path.join(root, name), path.join(target, name), { recursive: true });
}
mkdirSync(path.join(target, 'migrations'));
for (const name of migrations) {
  if (name <= release.last_migration) cpSync(path.join(root, 'migrations', name), path.join(target, 'migrations', name));
}
for (const name of ['package.json', 'package-lock.json']) {
  const content = JSON.parse(readFileSync(path.join(root, name), 'utf8'));
  content.version = version;
  if (content.packages?.['']) content.packages[''].version = version;
  writeFileSync(path.join(target, name), `${JSON.stringify(content, null, 2)}\n`);
}
symlinkSync(realpathSync(modules), path.join(target, 'node_modules'), 'dir');
const manifest = writeManifest(target);
console.log(`release ${version}: ${manifest.length} migrations in ${target}`);

# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that looks for C(down) in migration files; node gets it on its standard input.

It is kept as a string because a module takes along nothing but Python files.
"""

from __future__ import annotations

PARSER = r"""
'use strict';
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const [folder, ...files] = process.argv.slice(2);
const say = (answer) => process.stdout.write(JSON.stringify(answer));

function loadParser() {
  try {
    const ts = createRequire(path.join(folder, 'package.json'))('typescript');
    return typeof ts.createSourceFile === 'function' ? ts : null;
  } catch {
    return null;
  }
}

const ts = loadParser();

// What is behind brackets, casts, "satisfies" and "await".
function bare(node) {
  while (
    node &&
    (ts.isParenthesizedExpression(node) || ts.isAsExpression(node) || ts.isNonNullExpression(node) ||
      ts.isTypeAssertionExpression(node) || ts.isAwaitExpression(node) || ts.isVoidExpression(node) ||
      (ts.isSatisfiesExpression && ts.isSatisfiesExpression(node)))
  ) node = node.expression;
  return node;
}

const has = (node, kind) => (node.modifiers || []).some((modifier) => modifier.kind === kind);
const exported = (node) => has(node, ts.SyntaxKind.ExportKeyword);
const byDefault = (node) => has(node, ts.SyntaxKind.DefaultKeyword);
const nameOf = (node) =>
  node && (ts.isIdentifier(node) || ts.isStringLiteralLike(node)) ? node.text : undefined;

const kindOf = (file) =>
  /\.[cm]?tsx?$/.test(file) ? (/x$/.test(file) ? ts.ScriptKind.TSX : ts.ScriptKind.TS) : ts.ScriptKind.JS;
const parse = (file) =>
  ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true, kindOf(file));
"""
"""What every program over migration files begins with: the project's own parser, or null in its place."""

SCRIPT = (
    PARSER
    + r"""
// The names that a file gives to things at its top level, and what it exports.
function readFile(source) {
  const names = new Map();
  const holders = [];
  const others = [];
  const downs = [];
  let unclear = '';
  const lists = { down: downs, default: holders };
  const expose = (name, node) => (Object.hasOwn(lists, name) ? lists[name] : others).push(node);

  function declaration(statement) {
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (!ts.isIdentifier(name)) continue;
      names.set(name.text, initializer || name);
      if (exported(statement)) expose(name.text, initializer || name);
    }
  }

  function named(statement) {
    if (!statement.name) return;
    names.set(statement.name.text, statement);
    if (exported(statement) && !byDefault(statement)) expose(statement.name.text, statement);
  }

  function clause(statement) {
    if (!statement.exportClause || !ts.isNamedExports(statement.exportClause)) {
      unclear = 'it exports everything of another file';
      return;
    }
    for (const entry of statement.exportClause.elements) {
      const node = entry.propertyName || entry.name;
      if (statement.moduleSpecifier) {
        if (entry.name.text === 'down' || entry.name.text === 'default') unclear = 'its down() is in another file';
      } else expose(entry.name.text, node);
    }
  }

  // module.exports = x, module.exports.down = x, exports.down = x, also in a chain.
  function assignment(node) {
    if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.EqualsToken) return;
    const target = node.left.getText(source).replace(/\s/g, '');
    let value = node.right;
    while (ts.isBinaryExpression(value) && value.operatorToken.kind === ts.SyntaxKind.EqualsToken) {
      assignment(value);
      value = value.right;
    }
    if (target === 'module.exports' || target === 'exports') holders.push(value);
    const member = /^(?:module\.)?exports(?:\.default)?(?:\.(\w+)|\[['"](\w+)['"]\])$/.exec(target);
    if (member) expose(member[1] || member[2], value);
  }

  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement)) declaration(statement);
    else if (ts.isFunctionDeclaration(statement)) named(statement);
    else if (ts.isClassDeclaration(statement)) {
      named(statement);
      if (exported(statement) && byDefault(statement)) holders.push(statement);
    } else if (ts.isExportDeclaration(statement)) clause(statement);
    else if (ts.isExportAssignment(statement)) holders.push(statement.expression);
    else if (ts.isImportDeclaration(statement)) imports(statement);
    else if (ts.isExpressionStatement(statement)) assignment(statement.expression);
  }

  function imports(statement) {
    const bindings = statement.importClause && statement.importClause.namedBindings;
    if (statement.importClause && statement.importClause.name) names.set(statement.importClause.name.text, null);
    if (bindings && ts.isNamedImports(bindings)) bindings.elements.forEach((e) => names.set(e.name.text, null));
    if (bindings && ts.isNamespaceImport(bindings)) names.set(bindings.name.text, null);
  }

  return { names, holders, others, downs, unclear: () => unclear };
}

// Follows names to what they stand for; null is: imported, or not to be found in this file.
function resolve(node, names, depth = 0) {
  node = bare(node);
  if (!node || depth > 20) return null;
  if (!ts.isIdentifier(node)) return node;
  if (node.text === 'undefined') return node;
  const found = names.get(node.text);
  return found && found !== node ? resolve(found, names, depth + 1) : null;
}

// The member "down" of an object or a class: a node, undefined (there is none), or null (cannot tell).
function memberDown(holder, names) {
  holder = resolve(holder, names);
  if (!holder) return null;
  if (ts.isCallExpression(holder)) {
    const found = holder.arguments.map((argument) => memberDown(argument, names)).filter((down) => down);
    return found.length ? found[0] : null;
  }
  if (ts.isClassLike(holder)) {
    const member = holder.members.find((each) => nameOf(each.name) === 'down');
    if (member) return ts.isPropertyDeclaration(member) ? member.initializer || null : member;
    const inherits = (holder.heritageClauses || []).some((each) => each.token === ts.SyntaxKind.ExtendsKeyword);
    return inherits ? null : undefined;
  }
  if (!ts.isObjectLiteralExpression(holder)) return undefined;
  let down;
  for (const property of holder.properties) {
    if (ts.isSpreadAssignment(property)) {
      const spread = memberDown(property.expression, names);
      if (spread !== undefined && (spread || !down)) down = spread;
    } else if (nameOf(property.name) !== 'down') continue;
    else if (ts.isShorthandPropertyAssignment(property)) down = property.name;
    else down = ts.isPropertyAssignment(property) ? property.initializer : property;
  }
  return down;
}

// Calls that change nothing: console.…, log.…, logger.…, Promise.resolve.
function idle(call) {
  const callee = bare(call.expression);
  if (!ts.isPropertyAccessExpression(callee)) return false;
  const owner = callee.expression.getText();
  if (owner === 'Promise') return callee.name.text === 'resolve';
  return /^(?:console|log|logger|this\.log|this\.logger)$/.test(owner);
}

function does(node) {
  if (ts.isThrowStatement(node)) return false;
  if (ts.isCallExpression(node) && !idle(node)) return true;
  if (ts.isNewExpression(node) || ts.isTaggedTemplateExpression(node) || ts.isYieldExpression(node)) return true;
  return Boolean(ts.forEachChild(node, does));
}

function judge(node, names) {
  const down = resolve(node, names);
  if (!down) return ['not_proven', 'what it exports as down() is not in this file'];
  if ([ts.SyntaxKind.NullKeyword, ts.SyntaxKind.FalseKeyword].includes(down.kind) || nameOf(down) === 'undefined')
    return ['missing', `down is ${down.getText()}`];
  if (ts.isCallExpression(down)) return ['not_proven', 'its down() is made by a call'];
  if (!ts.isFunctionLike(down)) return ['not_proven', 'its down is not a function that can be read'];
  if (!down.body) return ['not_proven', 'its down() has no body in this file'];
  if (does(down.body)) return ['proven', 'it has a body that calls something'];
  const statements = ts.isBlock(down.body) ? down.body.statements : [];
  if (statements.some((each) => ts.isThrowStatement(each))) return ['missing', 'irreversible: its down() only throws'];
  return ['empty', 'its down() calls nothing but the log'];
}

function look(file) {
  const source = parse(file);
  if ((source.parseDiagnostics || []).length) return ['not_proven', 'it cannot be parsed'];
  const { names, holders, others, downs, unclear } = readFile(source);
  if (downs.length) return judge(downs[downs.length - 1], names);
  const members = holders.map((holder) => memberDown(holder, names));
  const found = [...others.map((other) => memberDown(other, names)), ...members].filter((down) => down);
  if (found.length) return judge(found[found.length - 1], names);
  if (unclear()) return ['not_proven', unclear()];
  if (members.includes(null)) return ['not_proven', 'it exports something that is not in this file'];
  return ['missing', 'it exports no down'];
}

function guarded(file) {
  try {
    return look(file);
  } catch {
    return ['not_proven', 'the parser could not read it'];
  }
}

if (ts) say(files.map(guarded));
else say({ error: "the project's node_modules have no typescript to parse it with" });
"""
)

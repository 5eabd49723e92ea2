# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a database's catalogue: one set-based query for each kind of object, no object read one by one.

Left out are the system's own schemas, temporary objects, members of extensions (the extension and its version are in),
and what PostgreSQL derives by itself: constraints and triggers that a partition has from its parent, and not-null
constraints, which are an attribute of their column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from ..._domain.catalogue import Catalogue

_COMMON = """
WITH ours AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), members AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), relations AS (
  SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS identity
  FROM pg_catalog.pg_class c JOIN ours n ON n.oid = c.relnamespace
  WHERE c.relpersistence <> 't' AND (1259, c.oid) NOT IN (SELECT classid, objid FROM members)
)
"""

_ACL = """'acl', (
  SELECT jsonb_agg(entry ORDER BY entry COLLATE "C") FROM (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END || '=' || privilege_type
      || CASE WHEN is_grantable THEN '*' ELSE '' END AS entry
    FROM aclexplode(coalesce({acl}, acldefault('{type}', {owner}))) WHERE grantee <> {owner}) AS granted),
'owner_without', (
  SELECT jsonb_agg(privilege_type ORDER BY privilege_type COLLATE "C") FROM (
    SELECT privilege_type FROM aclexplode(acldefault('{type}', {owner})) WHERE grantee = {owner} AND {acl} IS NOT NULL
      AND privilege_type <> 'MAINTAIN'
    EXCEPT SELECT privilege_type FROM aclexplode({acl}) WHERE grantee = {owner}) AS revoked),
'owner', pg_get_userbyid({owner})"""
"""Privileges of others than the owner, and what the owner has not: an explicit list that says the default is the same
as none (a dump leaves it out), and PostgreSQL 17's MAINTAIN is in explicit lists of 17 only."""


def _acl(acl: str, kind: str, owner: str) -> str:
    return _ACL.format(acl=acl, type=kind, owner=owner)


_QUERIES = {
    "schemas": f"""
SELECT format('%I', n.nspname), jsonb_build_object('comment', obj_description(n.oid, 'pg_namespace'),
  {_acl("n.nspacl", "n", "n.nspowner")})
FROM pg_namespace n JOIN ours USING (oid) WHERE (2615, n.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "extensions": """
SELECT format('%I', e.extname), jsonb_build_object('version', e.extversion, 'schema', n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
""",
    "tables": f"""
SELECT r.identity, jsonb_build_object(
  'kind', CASE r.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' ELSE 'foreign table' END,
  'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
  'partition_key', pg_get_partkeydef(r.oid), 'partition_bound', pg_get_expr(r.relpartbound, r.oid),
  'parents', (SELECT jsonb_agg(i.inhparent::regclass::text ORDER BY i.inhseqno) FROM pg_inherits i
    WHERE i.inhrelid = r.oid),
  'row_security', nullif(r.relrowsecurity, false), 'force_row_security', nullif(r.relforcerowsecurity, false),
  'options', (SELECT jsonb_agg(o ORDER BY o COLLATE "C") FROM unnest(r.reloptions) o),
  'replica_identity', nullif(nullif(r.relreplident, 'd'), 'n'), 'access_method', a.amname, 'tablespace', t.spcname,
  'of_type', CASE WHEN r.reloftype <> 0 THEN r.reloftype::regtype::text END,
  'server', s.srvname, 'foreign_options', to_jsonb(f.ftoptions),
  'comment', obj_description(r.oid, 'pg_class'), {_acl("r.relacl", "r", "r.relowner")})
FROM relations r LEFT JOIN pg_am a ON a.oid = r.relam LEFT JOIN pg_tablespace t ON t.oid = r.reltablespace
LEFT JOIN pg_foreign_table f ON f.ftrelid = r.oid LEFT JOIN pg_foreign_server s ON s.oid = f.ftserver
WHERE r.relkind IN ('r', 'p', 'f')
""",  # noqa: S608  # constants only
    "columns": """
SELECT format('%s.%I', r.identity, a.attname), jsonb_build_object('table', r.identity,
  'type', format_type(a.atttypid, a.atttypmod), 'not_null', nullif(a.attnotnull, false),
  'not_null_valid', (SELECT false FROM pg_constraint k WHERE k.conrelid = r.oid AND k.contype = 'n'
    AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
  'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
  'generated', CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
  'expression', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
  'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
  'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
  'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END, 'compression', nullif(a.attcompression, ''),
  'statistics', nullif(a.attstattarget, -1), 'options', to_jsonb(a.attoptions),
  'comment', col_description(r.oid, a.attnum),
  'acl', (SELECT jsonb_agg(entry ORDER BY entry COLLATE "C") FROM (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END || '=' || privilege_type
      || CASE WHEN is_grantable THEN '*' ELSE '' END AS entry
    FROM aclexplode(a.attacl) WHERE grantee <> r.relowner) AS granted))
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f')
""",
    "constraints": """
SELECT format('%s.%I', r.identity, k.conname), jsonb_build_object('table', r.identity,
  'definition', pg_get_constraintdef(k.oid), 'comment', obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
""",
    "indexes": """
SELECT format('%I.%I', r.nspname, c.relname), jsonb_build_object('table', r.identity,
  'definition', pg_get_indexdef(c.oid), 'valid', nullif(i.indisvalid, true),
  'clustered', nullif(i.indisclustered, false),
  'replica_identity', nullif(i.indisreplident, false), 'tablespace', t.spcname,
  'partition_of', (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid),
  'comment', obj_description(c.oid, 'pg_class'))
FROM pg_index i JOIN relations r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE r.relkind IN ('r', 'p', 'm')
""",
    "sequences": f"""
SELECT r.identity, jsonb_build_object(
  'type', s.seqtypid::regtype::text, 'start', s.seqstart, 'increment', s.seqincrement,
  'minimum', s.seqmin, 'maximum', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
  'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
  'owned_by', (SELECT format('%s.%I', d.refobjid::regclass, a.attname) FROM pg_depend d JOIN pg_attribute a
    ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 1259 AND d.objid = r.oid AND d.refclassid = 1259 AND d.deptype IN ('a', 'i') LIMIT 1),
  'comment', obj_description(r.oid, 'pg_class'), {_acl("r.relacl", "s", "r.relowner")})
FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid
""",  # noqa: S608  # constants only
    "views": f"""
SELECT r.identity, jsonb_build_object('definition', pg_get_viewdef(r.oid), 'options', to_jsonb(r.reloptions),
  'comment', obj_description(r.oid, 'pg_class'), {_acl("r.relacl", "r", "r.relowner")})
FROM relations r WHERE r.relkind = 'v'
""",  # noqa: S608  # constants only
    "materialised_views": f"""
SELECT r.identity, jsonb_build_object('definition', pg_get_viewdef(r.oid), 'options', to_jsonb(r.reloptions),
  'populated', r.relispopulated, 'tablespace', t.spcname, 'comment', obj_description(r.oid, 'pg_class'),
  {_acl("r.relacl", "r", "r.relowner")})
FROM relations r LEFT JOIN pg_tablespace t ON t.oid = r.reltablespace WHERE r.relkind = 'm'
""",  # noqa: S608  # constants only
    "rules": """
SELECT format('%s.%I', r.identity, w.rulename), jsonb_build_object('table', r.identity,
  'definition', pg_get_ruledef(w.oid), 'enabled', nullif(w.ev_enabled, 'O'))
FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
""",
    "triggers": """
SELECT format('%s.%I', r.identity, t.tgname), jsonb_build_object('table', r.identity,
  'definition', pg_get_triggerdef(t.oid), 'enabled', nullif(t.tgenabled, 'O'))
FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0
""",
    "policies": """
SELECT format('%s.%I', r.identity, p.polname), jsonb_build_object('table', r.identity, 'command', p.polcmd,
  'permissive', p.polpermissive, 'using', pg_get_expr(p.polqual, r.oid), 'check', pg_get_expr(p.polwithcheck, r.oid),
  'roles', (SELECT jsonb_agg(name ORDER BY name COLLATE "C") FROM (SELECT CASE role WHEN 0 THEN 'PUBLIC'
    ELSE pg_get_userbyid(role) END AS name FROM unnest(p.polroles) role) AS named))
FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
""",
    "functions": f"""
SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), jsonb_build_object(
  'kind', CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'window' END,
  'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
  'returns', pg_get_function_result(p.oid),
  'aggregate', (SELECT to_jsonb(g) - 'aggfnoid' || jsonb_build_object('aggtranstype', format_type(g.aggtranstype, NULL),
      'aggmtranstype', format_type(nullif(g.aggmtranstype, 0), NULL),
      'aggsortop', nullif(g.aggsortop, 0)::regoperator::text)
    FROM pg_aggregate g WHERE g.aggfnoid = p.oid),
  'comment', obj_description(p.oid, 'pg_proc'), {_acl("p.proacl", "f", "p.proowner")})
FROM pg_proc p JOIN ours n ON n.oid = p.pronamespace WHERE (1255, p.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "types": f"""
SELECT format('%I.%I', n.nspname, t.typname), jsonb_build_object(
  'kind', CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range' ELSE 'base' END,
  'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
  'attributes', CASE WHEN t.typtype = 'c' THEN (SELECT jsonb_agg(format('%I %s', a.attname,
      format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
  'subtype', (SELECT format_type(g.rngsubtype, NULL) FROM pg_range g WHERE g.rngtypid = t.oid),
  'comment', obj_description(t.oid, 'pg_type'), {_acl("t.typacl", "T", "t.typowner")})
FROM pg_type t JOIN ours n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('e', 'c', 'r', 'b') AND (t.typrelid = 0 OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
  AND (1247, t.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "domains": f"""
SELECT format('%I.%I', n.nspname, t.typname), jsonb_build_object('type', format_type(t.typbasetype, t.typtypmod),
  'not_null', nullif(t.typnotnull, false), 'default', pg_get_expr(t.typdefaultbin, 0),
  'constraints', (SELECT jsonb_agg(format('%I %s', k.conname, pg_get_constraintdef(k.oid)) ORDER BY k.conname)
    FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
  'comment', obj_description(t.oid, 'pg_type'), {_acl("t.typacl", "T", "t.typowner")})
FROM pg_type t JOIN ours n ON n.oid = t.typnamespace
WHERE t.typtype = 'd' AND (1247, t.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "collations": """
SELECT format('%I.%I', n.nspname, c.collname), to_jsonb(c) - ARRAY['oid', 'collname', 'collnamespace', 'collowner',
  'collversion', 'collencoding'] || jsonb_build_object('owner', pg_get_userbyid(c.collowner))
FROM pg_collation c JOIN ours n ON n.oid = c.collnamespace
WHERE (3456, c.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "operators": """
SELECT o.oid::regoperator::text, jsonb_build_object('function', o.oprcode::regprocedure::text,
  'commutator', nullif(o.oprcom, 0)::regoperator::text, 'negator', nullif(o.oprnegate, 0)::regoperator::text,
  'hashes', o.oprcanhash, 'merges', o.oprcanmerge, 'owner', pg_get_userbyid(o.oprowner))
FROM pg_operator o JOIN ours n ON n.oid = o.oprnamespace
WHERE o.oprcode <> 0 AND (2617, o.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "operator_classes": """
SELECT format('%I.%I USING %I', n.nspname, c.opcname, a.amname), jsonb_build_object(
  'type', c.opcintype::regtype::text, 'is_default', c.opcdefault, 'owner', pg_get_userbyid(c.opcowner),
  'operators', (SELECT jsonb_agg(format('%s %s', o.amopstrategy, o.amopopr::regoperator) ORDER BY o.amopstrategy,
    o.amopopr::regoperator::text) FROM pg_amop o WHERE o.amopfamily = c.opcfamily),
  'functions', (SELECT jsonb_agg(format('%s %s', f.amprocnum, f.amproc::regprocedure) ORDER BY f.amprocnum,
    f.amproc::regprocedure::text) FROM pg_amproc f WHERE f.amprocfamily = c.opcfamily))
FROM pg_opclass c JOIN ours n ON n.oid = c.opcnamespace JOIN pg_am a ON a.oid = c.opcmethod
WHERE (2616, c.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "casts": """
SELECT format('%s AS %s', c.castsource::regtype, c.casttarget::regtype), jsonb_build_object(
  'function', nullif(c.castfunc, 0)::regprocedure::text, 'context', c.castcontext, 'method', c.castmethod)
FROM pg_cast c WHERE c.oid >= 16384 AND (2605, c.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "text_search_configurations": """
SELECT format('%I.%I', n.nspname, c.cfgname), jsonb_build_object('parser', p.prsname,
  'owner', pg_get_userbyid(c.cfgowner),
  'mappings', (SELECT jsonb_agg(format('%s %s %s', m.maptokentype, m.mapseqno, m.mapdict::regdictionary)
    ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid))
FROM pg_ts_config c JOIN ours n ON n.oid = c.cfgnamespace JOIN pg_ts_parser p ON p.oid = c.cfgparser
WHERE (3602, c.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "text_search_dictionaries": """
SELECT format('%I.%I', n.nspname, d.dictname), jsonb_build_object('template', t.tmplname, 'options', d.dictinitoption,
  'owner', pg_get_userbyid(d.dictowner))
FROM pg_ts_dict d JOIN ours n ON n.oid = d.dictnamespace JOIN pg_ts_template t ON t.oid = d.dicttemplate
WHERE (3600, d.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "statistics": """
SELECT format('%I.%I', n.nspname, s.stxname), jsonb_build_object('definition', pg_get_statisticsobjdef(s.oid),
  'owner', pg_get_userbyid(s.stxowner), 'comment', obj_description(s.oid, 'pg_statistic_ext'))
FROM pg_statistic_ext s JOIN ours n ON n.oid = s.stxnamespace
WHERE (3381, s.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "foreign_servers": f"""
SELECT format('%I', s.srvname), jsonb_build_object('wrapper', w.fdwname, 'type', s.srvtype, 'version', s.srvversion,
  {_acl("s.srvacl", "S", "s.srvowner")})
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
WHERE (1417, s.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "languages": f"""
SELECT format('%I', l.lanname), jsonb_build_object('trusted', l.lanpltrusted, {_acl("l.lanacl", "l", "l.lanowner")})
FROM pg_language l WHERE l.oid >= 16384 AND (2612, l.oid) NOT IN (SELECT classid, objid FROM members)
""",  # noqa: S608  # constants only
    "publications": """
SELECT format('%I', p.pubname), jsonb_build_object('owner', pg_get_userbyid(p.pubowner), 'all_tables', p.puballtables,
  'insert', p.pubinsert, 'update', p.pubupdate, 'delete', p.pubdelete, 'truncate', p.pubtruncate,
  'via_root', p.pubviaroot,
  'tables', (SELECT jsonb_agg(concat(x.prrelid::regclass, ' ', pg_get_expr(x.prqual, x.prrelid))
    ORDER BY x.prrelid::regclass::text COLLATE "C") FROM pg_publication_rel x WHERE x.prpubid = p.oid))
FROM pg_publication p
""",
    "event_triggers": """
SELECT format('%I', e.evtname), jsonb_build_object('event', e.evtevent, 'function', e.evtfoid::regprocedure::text,
  'enabled', e.evtenabled, 'tags', to_jsonb(e.evttags), 'owner', pg_get_userbyid(e.evtowner))
FROM pg_event_trigger e WHERE (3466, e.oid) NOT IN (SELECT classid, objid FROM members)
""",
    "default_privileges": """
SELECT format('%I %s %s', pg_get_userbyid(d.defaclrole), coalesce(n.nspname, '*'), d.defaclobjtype), jsonb_build_object(
  'owner', pg_get_userbyid(d.defaclrole),
  'acl', (SELECT jsonb_agg(entry ORDER BY entry COLLATE "C") FROM (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END || '=' || privilege_type
      || CASE WHEN is_grantable THEN '*' ELSE '' END AS entry
    FROM aclexplode(d.defaclacl) WHERE privilege_type <> 'MAINTAIN') AS granted))
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
""",
}

KINDS = tuple(_QUERIES)


def read_catalogue(connection: Connection) -> Catalogue:
    """Read the catalogue of the database that a session of `reading.reading` is connected to.

    Kinds of which there is no object are left out, and so are attributes that are null.
    """
    catalogue: Catalogue = {}
    with connection.cursor() as cursor:
        for kind, query in _QUERIES.items():
            cursor.execute(_COMMON + query)
            objects = {identity: _set_only(attributes) for identity, attributes in cursor.fetchall()}
            if objects:
                catalogue[kind] = objects
    return catalogue


def _set_only(attributes: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in attributes.items() if value is not None}

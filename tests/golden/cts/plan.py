#!/usr/bin/python3
"""Makes plan.json, which ../cts.rs plays: python3 tests/golden/cts/plan.py ../shared/pacemaker-cts

That folder holds `cts/cli` and `cts/cts-cli.in` of ClusterLabs/pacemaker at 0a519a6e6b, unchanged. The suite's own control flow
runs here with a recorder in place of everything that would start a command, so that groups, set-ups and the environment (with its
leaks) are what they are in the suite. Placeholders: @DATA@ (the folder cts/cli), @SHADOWn@ (a fresh directory), @CIBn@ (a fresh
file), @TOMORROW@ (this moment tomorrow).
"""
import json, os, sys, types, enum, pathlib, subprocess, tempfile, datetime, re

HERE = os.path.realpath(sys.argv[1])
SOURCE = f"{HERE}/cts/cts-cli.in"
STATUS = dict(OK=0, ERROR=1, INVALID_PARAM=2, UNIMPLEMENT_FEATURE=3, INSUFFICIENT_PRIV=4, NOT_INSTALLED=5, NOT_CONFIGURED=6,
              USAGE=64, DATAERR=65, CANTCREAT=73, CONFIG=78, OLD=103, NOSUCH=105, UNSAFE=107, EXISTS=108, MULTIPLE=109,
              EXPIRED=110, NOT_YET_IN_EFFECT=111, DIGEST=104)
ExitStatus = enum.IntEnum("ExitStatus", STATUS)
for name, parts in {"pacemaker": {}, "pacemaker._cts": {}, "pacemaker._cts.environment": {"set_cts_path": None},
                    "pacemaker._cts.errors": {"XmlValidationError": Exception},
                    "pacemaker._cts.validate": {"validate": None}, "pacemaker.exitstatus": {"ExitStatus": ExitStatus}}.items():
    m = types.ModuleType(name); m.__dict__.update(parts); sys.modules[name] = m

m = types.ModuleType("ctscli"); m.__file__ = SOURCE
exec(compile(open(SOURCE).read(), SOURCE, "exec"), m.__dict__)
DATA = m.cts_cli_data
steps, base, count = [], None, {"SHADOW": 0, "CIB": 0}

def text(s):
    return s.replace(DATA, "@DATA@") if isinstance(s, str) else s

def env():
    return {k: text(v) for k, v in os.environ.items() if base.get(k) != v}

def put(kind, **more):
    steps.append({"kind": kind, "env": env(), **more})

def commands(cmds):
    if cmds is None: return []
    if not isinstance(cmds, list): cmds = [cmds]
    return [text(c) if isinstance(c, str) else "@" + c.__name__ for c in cmds]

def fresh(kind):
    count[kind] += 1
    return f"@{kind}{count[kind]}@"

class FakeDir:
    def __init__(self, prefix=None): pass
    def __enter__(self):
        self.name = fresh("SHADOW"); steps.append({"kind": "mkdir", "path": self.name, "env": {}}); return self.name
    def __exit__(self, *a): steps.append({"kind": "rmdir", "path": self.name, "env": {}})

m.TemporaryDirectory = FakeDir
def copy(existing):
    name = fresh("CIB"); steps.append({"kind": "copy", "from": text(existing), "path": name, "env": {}}); return name
m.copy_existing_cib_real = copy
def write(s):
    name = fresh("CIB"); steps.append({"kind": "write", "text": s, "path": name, "env": {}}); return name
# The groups hold partial(copy_existing_cib, ...): names are looked up when the property `tests` is read.
m.copy_existing_cib, m.write_cib = copy, write
m.os = types.SimpleNamespace(**{k: getattr(os, k) for k in dir(os) if not k.startswith("__")}); m.os.unlink = lambda p: None

def simple(cmd): put("run", cmds=[cmd])
m.run_cmd_list = lambda cmds: put("setup", cmds=commands(cmds)) if cmds else None
m.cleanup_shadow_dir = lambda: put("run", cmds=["crm_shadow --force --delete cts-cli"])
def create(shadow_dir, create_empty=True, validate_with=None, valgrind=False):
    os.environ["CIB_shadow_dir"], os.environ["CIB_shadow"] = shadow_dir, m.SHADOW_NAME
    how = "--create-empty" if create_empty else "--create"
    put("run", cmds=[f"crm_shadow --batch --force {how} {m.SHADOW_NAME}" + (f" --validate-with {validate_with}" if validate_with else ""),
                     "@delete_shadow_resource_defaults"])
m.create_shadow_cib = create

class Tomorrow(str):
    pass
class FakeNow:
    def __add__(self, other): return self
    def strftime(self, f): return "@TOMORROW@"
m.datetime = types.SimpleNamespace(now=lambda: FakeNow())

def stdin(s):
    if s is None: return {}
    if isinstance(s, m.StdinCmd): return {"stdin_command": text(s._cmd)}
    if isinstance(s, pathlib.Path): return {"stdin_file": text(str(s))}
    return {"stdin": s}

def test_run(self, group, env=None, valgrind=False):
    with m.environ(self._env):
        put("acl_test" if isinstance(self, m.AclTest) else "test", desc=self.desc, cmd=text(self.cmd), expected=int(self.expected_rc),
            update_cib=self.update_cib, setup=commands(self._setup), teardown=commands(self._teardown), **stdin(self._stdin))
        if self.update_cib:
            os.environ["CIB_user"] = "root"  # The suite leaves it set.
    self._output = []
    return True
m.Test.run = test_run
m.AclTest.run = test_run

os.environ.clear()
os.environ.update({"LC_ALL": "C", "PCMK_stderr": "1", "PCMK_trace_functions": ""})
start = dict(os.environ); base = {}
out = {}
for cls in m.regression_classes:
    os.environ.clear(); os.environ.update(start)
    steps = []
    count = {"SHADOW": 0, "CIB": 0}
    r = cls()
    for t in r.tests:
        t.run(r.name)
    out[r.name] = steps
json.dump(out, open(f"{HERE}/plan.json", "w"), indent=1)
print({k: sum(s["kind"].endswith("test") for s in v) for k, v in out.items()}, sum(s["kind"].endswith("test") for v in out.values() for s in v))

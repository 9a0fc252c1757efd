"""What a secured lab's Elasticsearch lacks to store API keys: three parts for the analysis of text, as a plugin.

The build from Maven Central comes without the module that has them (`analysis-common`), and the index of the security
features (`.security`) names them, for the e-mail addresses of users. Nobody of the lab searches for these: the
stand-ins let text through as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from bdops.lab import java
from bdops.lab.lab import Lab

FILTERS, TOKENIZERS = ("pattern_capture", "unique"), ("uax_url_email",)
API = "org.elasticsearch.plugin.analysis"

PACKAGE = "standins"  # a plugin is made a module, which takes no class without one

FILTER = """\
package standins;
@org.elasticsearch.plugin.NamedComponent("{name}")
public class {kind} implements org.elasticsearch.plugin.analysis.TokenFilterFactory {{
    public org.apache.lucene.analysis.TokenStream create(org.apache.lucene.analysis.TokenStream in) {{ return in; }}
}}
"""
TOKENIZER = """\
package standins;
@org.elasticsearch.plugin.NamedComponent("{name}")
public class {kind} implements org.elasticsearch.plugin.analysis.TokenizerFactory {{
    public org.apache.lucene.analysis.Tokenizer create() {{
        return new org.apache.lucene.analysis.standard.StandardTokenizer();
    }}
}}
"""


def home(lab: Lab, plain: Path, version: str) -> Path:
    """The distribution `plain` with the plugin, beside it in the cache; its files are the same ones, by hard links."""
    target = plain.with_name(f"{plain.name}-secured")
    if not target.is_dir():
        work = Path(tempfile.mkdtemp(prefix=".elasticsearch-", dir=plain.parent))
        try:
            shutil.copytree(plain, work / target.name, copy_function=os.link, symlinks=True)
            _install(lab, work / target.name, version, work)
            (work / target.name).rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _install(lab: Lab, home: Path, version: str, work: Path) -> None:
    """Compile the plugin into a distribution's `plugins`."""
    sources, classes = work / "sources", work / "classes"
    sources.mkdir()
    kinds = {name: name.title().replace("_", "") for name in (*FILTERS, *TOKENIZERS)}
    for name, kind in kinds.items():
        text = (FILTER if name in FILTERS else TOKENIZER).format(name=name, kind=kind)
        (sources / f"{kind}.java").write_text(text)
    files = [str(file) for file in sorted(sources.iterdir())]
    lab.run_java([java.require("javac"), "-proc:none", "-cp", f"{home}/lib/*", "-d", str(classes), *files])
    plugin = home / "plugins" / "stand-ins"
    plugin.mkdir(parents=True)
    with zipfile.ZipFile(plugin / "stand-ins.jar", "w") as jar:
        for one in sorted((classes / PACKAGE).iterdir()):
            jar.write(one, f"{PACKAGE}/{one.name}")
    about = {
        "name": "stand-ins",
        "description": "what .security names",
        "version": "1",
        "elasticsearch.version": version,
        "java.version": "17",
    }
    (plugin / "stable-plugin-descriptor.properties").write_text("".join(f"{k}={v}\n" for k, v in about.items()))
    named = {
        f"{API}.TokenFilterFactory": {name: f"{PACKAGE}.{kinds[name]}" for name in FILTERS},
        f"{API}.TokenizerFactory": {name: f"{PACKAGE}.{kinds[name]}" for name in TOKENIZERS},
    }
    (plugin / "named_components.json").write_text(json.dumps(named))

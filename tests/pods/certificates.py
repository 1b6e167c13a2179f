"""What cert-manager makes of a form's Certificates: Secrets, here as folders. Keys by `openssl`."""

import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(folder, *words):
    subprocess.run(["openssl", "req", "-x509", "-days", "1", *KEY, *words], cwd=folder, check=True,
                   capture_output=True)


class Secrets:
    """The Secrets of rendered objects' Certificates, below `folder`."""

    def __init__(self, objects, folder):
        self._folder = folder
        self._wanted = {item.content["spec"]["secretName"]: item.content["spec"]["uris"][0]
                        for item in objects
                        if item.kind == "Certificate" and item.content["spec"].get("uris")}
        folder.mkdir()
        _openssl(folder, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt",
                 "-addext", "keyUsage=critical,keyCertSign")
        for secret in self._wanted:
            (folder / secret).mkdir()
        self.renew()

    def renew(self):
        """Issues every role's certificate anew, with a new key."""
        for secret, uri in self._wanted.items():
            _openssl(self._folder, "-subj", "/CN=role", "-CA", "ca.crt", "-CAkey", "ca.key",
                     "-addext", f"subjectAltName=URI:{uri},DNS:{uri.rpartition('/')[2]}", "-addext",
                     "basicConstraints=critical,CA:FALSE", "-keyout", "new.key", "-out", "new.crt")
            folder = self._folder / secret
            (self._folder / "new.key").replace(folder / "tls.key")
            (self._folder / "new.crt").replace(folder / "tls.crt")
            (folder / "ca.crt").write_bytes((self._folder / "ca.crt").read_bytes())

    def folder(self, secret):
        return self._folder / secret

    def volumes(self, template):
        """Name of a volume -> folder, for a pod's volumes that are these Secrets."""
        found = {}
        for volume in template.spec.get("volumes") or []:
            secret = (volume.get("secret") or {}).get("secretName")
            if secret in self._wanted:
                found[volume["name"]] = self._folder / secret
        return found

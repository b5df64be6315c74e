"""The programs of the demo capture: their configurations, servers, clients, and what their flows are."""

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Command = Callable[[Path, str], list[str]]
"""(work folder, server's address) -> command line."""

FILE_BYTES = 16_000
CALL_S = 3
VIDEO_S = 4


@dataclass(frozen=True)
class Conversation:
    """One client's talk with one server."""

    name: str
    program: str
    traffic: str
    application: str | None
    ports: dict[str, range | tuple[int, ...]]
    client: Command
    limit_s: float | None = field(default=None)
    """Set where the client runs until it is ended."""


def _ssh_options(work: Path) -> str:
    return f"-i {work}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile={work}/known"


def _shell(script: str) -> list[str]:
    return ["sh", "-ec", script]


def _mail_client(work: Path, server: str) -> list[str]:
    return _shell(
        f"for n in 1 2 3; do msmtp -C {work}/msmtprc -a demo bob@example.org < {work}/mail-$n.eml; done"
    )


def _chat_client(work: Path, server: str) -> list[str]:
    people = " & ".join(
        f"timeout 16 weechat-headless -d {work}/weechat-{who} "
        + " ".join(f"-r '{line}'" for line in _chat_script(who, server))
        for who in ("alice", "bob")
    )
    return _shell(f"{people} & wait")


def _chat_script(who: str, server: str) -> list[str]:
    friend = "bob" if who == "alice" else "alice"
    offset = 5 if who == "alice" else 6
    lines = (
        "hello, are you there?",
        "yes. Shall we meet for lunch tomorrow?",
        "Half past twelve at the usual place suits me well.",
        "Good. I will bring the drawings along, then you can take them with you.",
    )
    return [
        "/set weechat.network.gnutls_ca_system off",
        f"/server add demo {server}/6697 -ssl -nicks={who} -ssl_verify=off",
        "/connect demo",
        *(f"/wait {offset + 2 * n} /msg -server demo {friend} {line}" for n, line in enumerate(lines)),
        "/wait 14 /quit",
    ]


SERVERS: dict[str, Command] = {
    "sshd": lambda work, server: ["/usr/sbin/sshd", "-D", "-e", "-f", f"{work}/sshd.conf"],
    "vsftpd": lambda work, server: ["vsftpd", f"{work}/vsftpd.conf"],
    "dovecot": lambda work, server: ["dovecot", "-F", "-c", f"{work}/dovecot.conf"],
    "exim": lambda work, server: ["exim4", "-C", f"{work}/exim.conf", "-bdf"],
    "nginx": lambda work, server: ["nginx", "-c", f"{work}/nginx.conf", "-g", "daemon off;"],
    "ngircd": lambda work, server: ["ngircd", "-n", "-f", f"{work}/ngircd.conf"],
    "baresip": lambda work, server: ["baresip", "-f", f"{work}/baresip-server"],
    "opentracker": lambda work, server: ["opentracker", "-f", f"{work}/opentracker.conf"],
    "seeder": lambda work, server: ["transmission-daemon", "-f", "-g", f"{work}/torrent-server"],
}

CONVERSATIONS = (
    Conversation(
        "sftp",
        "OpenSSH sftp, one file down and one up",
        "File Transfer",
        "SFTP",
        {"tcp": (22,)},
        lambda work, server: _shell(
            f"printf 'get {work}/files/a.bin {work}/home/a1\\nput {work}/files/b.bin {work}/home/b1\\n'"
            f" | sftp -b - {_ssh_options(work)} root@{server}"
        ),
    ),
    Conversation(
        "scp",
        "OpenSSH scp, one file down",
        "File Transfer",
        "SCP",
        {"tcp": (2222,)},
        lambda work, server: _shell(
            f"scp -O -P 2222 {_ssh_options(work)} root@{server}:{work}/files/a.bin {work}/home/a2"
        ),
    ),
    Conversation(
        "ftps",
        "lftp and vsftpd over TLS, one file down",
        "File Transfer",
        "FTPS",
        {"tcp": (21, *range(40000, 40010))},
        lambda work, server: [
            "lftp",
            "-c",
            "set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
            f"open ftp://anonymous:a@{server}; get pub/a.bin -o {work}/home/a3",
        ],
    ),
    Conversation(
        "smtp", "msmtp and Exim, three mails over TLS", "Email", "Email", {"tcp": (465,)}, _mail_client
    ),
    Conversation(
        "imap",
        "mbsync and Dovecot, a mailbox fetched over TLS",
        "Email",
        "Email",
        {"tcp": (993,)},
        lambda work, server: ["mbsync", "-c", f"{work}/mbsyncrc", "demo"],
    ),
    Conversation(
        "video",
        "FFmpeg plays HLS video from nginx over HTTPS",
        "Streaming",
        None,
        {"tcp": (443,)},
        lambda work, server: [
            *("ffmpeg", "-hide_banner", "-nostdin", "-re", "-tls_verify", "0"),
            *("-i", f"https://{server}/video.m3u8", "-f", "null", "-"),
        ],
    ),
    Conversation(
        "call",
        "a baresip call, SIP and Opus over RTP",
        "VoIP",
        None,
        {"udp": (5060, *range(10000, 10100))},
        lambda work, server: [
            *("baresip", "-f", f"{work}/baresip-client", "-t", str(CALL_S)),
            *("-e", f"/dial sip:bob@{server}"),
        ],
    ),
    Conversation(
        "chat",
        "two WeeChats talk through ngIRCd over TLS",
        "Chat",
        None,
        {"tcp": (6697,)},
        _chat_client,
    ),
    Conversation(
        "torrent",
        "Transmission fetches a torrent, peers encrypted",
        "Torrent",
        "Torrent",
        {"tcp": (6969, 51413, 51414), "udp": (6969, 51413, 51414, 6771)},
        lambda work, server: ["transmission-daemon", "-f", "-g", f"{work}/torrent-client"],
        limit_s=20,
    ),
)


def prepare(work: Path, client: str, server: str) -> None:
    """Write keys, files and configurations of all programs below ``work``."""
    for folder in ("home", "files", "ftp/pub", "www", "mail/new", "mail/cur", "mail/tmp", "inbox", "spool"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    for name in ("a.bin", "b.bin"):
        (work / "files" / name).write_bytes(os.urandom(FILE_BYTES))
    (work / "ftp/pub/a.bin").write_bytes(os.urandom(FILE_BYTES))
    (work / "ftp").chmod(0o555)
    _make_keys(work, server)
    _make_mails(work)
    _make_video(work)
    _make_torrent(work, client, server)
    _make_phones(work, {"client": ("alice", client), "server": ("bob", server)})
    for name, text in _configurations(work, server).items():
        (work / name).write_text(text)
    (work / "msmtprc").chmod(0o600)
    Path("/run/sshd").mkdir(exist_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _make_keys(work: Path, server: str) -> None:
    for name in ("key", "host"):
        (work / name).unlink(missing_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{work}/{name}")
    _run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"),
        *("-subj", f"/CN={server}", "-addext", f"subjectAltName=IP:{server}"),
        *("-keyout", f"{work}/tls.key", "-out", f"{work}/tls.crt"),
    )
    (work / "tls.key").chmod(0o644)  # Exim reads it after it gave up root


def _make_mails(work: Path) -> None:
    for n in range(1, 4):
        body = "\n".join(f"Line {k} of message {n}: {os.urandom(24).hex()}" for k in range(40 * n))
        text = f"From: alice@example.org\nTo: bob@example.org\nSubject: message {n}\n\n{body}\n"
        (work / f"mail-{n}.eml").write_text(text)
        (work / f"mail/new/{n}.demo").write_text(text)
    user = pwd.getpwnam("nobody")
    os.chown(work / "spool", pwd.getpwnam("Debian-exim").pw_uid, -1)
    for path in (work / "mail", *(work / "mail").rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)


def _make_video(work: Path) -> None:
    _run(
        *("ffmpeg", "-y", "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=15:duration={VIDEO_S}"),
        *("-c:v", "libx264", "-b:v", "100k", "-maxrate", "120k", "-bufsize", "60k", "-g", "30"),
        *("-hls_time", "2", "-hls_list_size", "0", f"{work}/www/video.m3u8"),
    )


def _make_torrent(work: Path, client: str, server: str) -> None:
    shared = work / "torrent-server/shared"
    shared.mkdir(parents=True, exist_ok=True)
    (shared / "demo.bin").write_bytes(os.urandom(2 * FILE_BYTES))
    torrent = work / "demo.torrent"
    torrent.unlink(missing_ok=True)
    _run(
        *("transmission-create", "-o", str(torrent), "-t", f"http://{server}:6969/announce"),
        str(shared / "demo.bin"),
    )
    shown = subprocess.run(["transmission-show", str(torrent)], check=True, capture_output=True, text=True)
    (work / "torrents").write_text(shown.stdout.partition("Hash:")[2].split()[0] + "\n")
    for side, port in (("server", 51413), ("client", 51414)):
        folder = work / f"torrent-{side}"
        (folder / "watch").mkdir(parents=True, exist_ok=True)
        (folder / "shared").mkdir(exist_ok=True)
        (folder / "watch/demo.torrent").write_bytes(torrent.read_bytes())
        (folder / "settings.json").write_text(
            f'{{"download-dir": "{folder}/shared", "watch-dir": "{folder}/watch", "watch-dir-enabled": true,'
            f' "peer-port": {port}, "encryption": 2, "dht-enabled": false, "lpd-enabled": false,'
            f' "utp-enabled": false, "rpc-enabled": false, "port-forwarding-enabled": false,'
            f' "bind-address-ipv4": "{server if side == "server" else client}"}}'
        )


def _make_phones(work: Path, people: dict[str, tuple[str, str]]) -> None:
    modules = ("stdio", "opus", "ausine", "aufile", "account", "menu")
    for side, (name, address) in people.items():
        folder = work / f"baresip-{side}"
        folder.mkdir(exist_ok=True)
        (folder / "accounts").write_text(
            f"<sip:{name}@{address}>;regint=0;answermode=auto;audio_codecs=opus\n"
        )
        (folder / "config").write_text(
            f"module_path /usr/lib/baresip/modules\nsip_listen {address}:5060\nnet_interface eth0\n"
            f"audio_source ausine,440\naudio_player aufile,{folder}/heard.wav\nrtp_ports 10000-10099\n"
            "opus_bitrate 32000\nausrc_srate 48000\nauplay_srate 48000\n"
            + "".join(f"{'module_app' if m in ('account', 'menu') else 'module'} {m}.so\n" for m in modules)
        )


def _configurations(work: Path, server: str) -> dict[str, str]:
    nobody = pwd.getpwnam("nobody")
    return {
        "sshd.conf": f"Port 22\nPort 2222\nListenAddress {server}\nHostKey {work}/host\nUsePAM no\n"
        f"PidFile none\nStrictModes no\nAuthorizedKeysFile {work}/key.pub\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\n",
        "vsftpd.conf": f"listen=YES\nbackground=NO\nlisten_address={server}\nanonymous_enable=YES\n"
        f"anon_root={work}/ftp\nno_anon_password=YES\nssl_enable=YES\nallow_anon_ssl=YES\n"
        f"force_anon_data_ssl=YES\nforce_anon_logins_ssl=YES\nrequire_ssl_reuse=NO\nseccomp_sandbox=NO\n"
        f"rsa_cert_file={work}/tls.crt\nrsa_private_key_file={work}/tls.key\n"
        "pasv_min_port=40000\npasv_max_port=40009\n",
        "dovecot.conf": f"protocols = imap\nbase_dir = {work}/dovecot-run\nlog_path = /dev/stderr\n"
        f"listen = {server}\nssl = required\nssl_cert = <{work}/tls.crt\nssl_key = <{work}/tls.key\n"
        f"mail_location = maildir:{work}/mail\nfirst_valid_uid = 1\n"
        "passdb {\n  driver = static\n  args = password=secret\n}\n"
        f"userdb {{\n  driver = static\n  args = uid={nobody.pw_uid} gid={nobody.pw_gid} "
        f"home={work}/mail\n}}\n"
        "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n  inet_listener imaps {\n"
        "    port = 993\n    ssl = yes\n  }\n}\n",
        "exim.conf": f"local_interfaces = {server}\ndaemon_smtp_ports = 465\ntls_on_connect_ports = 465\n"
        f"tls_certificate = {work}/tls.crt\ntls_privatekey = {work}/tls.key\ntls_advertise_hosts = *\n"
        f"spool_directory = {work}/spool\nlog_file_path = {work}/spool/%s.log\n"
        f"pid_file_path = {work}/exim.pid\n"
        "host_lookup =\nqueue_only\nacl_smtp_rcpt = anyone\nbegin acl\nanyone:\n  accept\n",
        "nginx.conf": f"user root;\npid {work}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        "http {\n  access_log off;\n  types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }\n"
        f"  server {{\n    listen {server}:443 ssl;\n    ssl_certificate {work}/tls.crt;\n"
        f"    ssl_certificate_key {work}/tls.key;\n    root {work}/www;\n  }}\n}}\n",
        "ngircd.conf": f"[Global]\nName = irc.example.org\nListen = {server}\nPorts = 6667\n"
        "ServerUID = 65534\n"
        f"[Options]\nDNS = no\nIdent = no\nPAM = no\n[SSL]\nCertFile = {work}/tls.crt\n"
        f"KeyFile = {work}/tls.key\nPorts = 6697\n",
        "opentracker.conf": f"listen.tcp_udp {server}:6969\naccess.whitelist {work}/torrents\n",
        "msmtprc": f"account demo\nhost {server}\nport 465\ntls on\ntls_starttls off\ntls_certcheck off\n"
        "from alice@example.org\nauth off\n",
        "mbsyncrc": f"IMAPAccount demo\nHost {server}\nUser bob\nPass secret\nSSLType IMAPS\n"
        f"CertificateFile {work}/tls.crt\n\nIMAPStore remote\nAccount demo\n\nMaildirStore local\n"
        f"Path {work}/inbox/\nInbox {work}/inbox/INBOX\n\nChannel demo\nFar :remote:\nNear :local:\n"
        "Patterns INBOX\nCreate Near\nSync Pull\nSyncState *\n",
    }

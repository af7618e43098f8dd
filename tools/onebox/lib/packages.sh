# shellcheck shell=bash
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# What is installed: Debian's packages, the cloud's environment with
# ekko-nova in it, and the guest's image.

UV=uv==0.13.8

install_packages() {
    logged packages "$CHECKOUT/tools/bootstrap" onebox
    make_environment
    if [ "$(ekko_digest)" != "$(cat "$VENV/ekko-installed" 2>/dev/null)" ]; then
        install_ekko
        say 'ekko-nova is installed'
    fi
    make_image
}

# The distribution's python: libvirt's and libnbd's bindings fit no other.
make_environment() {
    local wanted
    wanted=$(sha256sum <"$ONEBOX/requirements.lock")
    [ "$wanted" = "$(cat "$VENV/ekko-lock" 2>/dev/null)" ] && return
    say "making $VENV"
    rm -rf "$VENV"
    logged packages /usr/bin/python3 -m venv "$VENV"
    logged packages install_requirements
    logged packages "$VENV/bin/python" "$CHECKOUT/tools/link-system-bindings"
    # Its commands begin much sooner.
    logged packages "$VENV/bin/python" -m compileall -q -j 0 "$VENV/lib"
    echo "$wanted" >"$VENV/ekko-lock"
    say 'the environment is there'
}

# uv takes a third of pip's time, but has settings of its own; pip has those
# of this machine.
install_requirements() {
    local pip=("$VENV/bin/python" -m pip --disable-pip-version-check)
    if "${pip[@]}" install --quiet "$UV" &&
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
            "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" \
            --requirement "$ONEBOX/requirements.lock"; then
        return 0
    fi
    "${pip[@]}" install --quiet --requirement "$ONEBOX/requirements.lock"
}

# What of this checkout is installed, in one number: another checkout, or a
# later commit, is not to be tested by what an earlier one has left.
ekko_digest() {
    (cd "$CHECKOUT" && find ekko_nova nova pyproject.toml setup.cfg -type f \
        ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum) | sha256sum
}

# Built from a copy: a build leaves files behind, and reads those that an
# earlier one left.
install_ekko() {
    local copy git=(git -c "safe.directory=$CHECKOUT" -C "$CHECKOUT")
    copy=$(mktemp -d)
    "${git[@]}" ls-files -z --cached --others --exclude-standard |
        tar -C "$CHECKOUT" --null --verbatim-files-from --files-from - \
            --ignore-failed-read -c 2>/dev/null | tar -C "$copy" -x
    # pbr would ask git for it, and the copy has none.
    logged packages env "PBR_VERSION=${PBR_VERSION:-0.0.1}" \
        "$VENV/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-build-isolation --no-deps \
        --no-index --force-reinstall "$copy"
    rm -rf "$copy"
    ekko_digest >"$VENV/ekko-installed"
}

# ROOT/guest/disk.qcow2
make_image() {
    [ "$ROOT/guest/disk.qcow2" -nt "$CHECKOUT/tools/build-guest" ] &&
        [ "$ROOT/guest/disk.qcow2" -nt "$ONEBOX/lib/build-disk" ] && return
    logged packages "$ONEBOX/lib/build-disk" "$ROOT/guest"
    say "the guest's image is built"
}

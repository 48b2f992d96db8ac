# The controller's image: one static binary in an empty root.
#
#     docker build --tag registry.example/slipway:0.1.0 .
#
# The tests and the demo do without it: they make the same image of the same binary themselves.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
# Naming the target keeps the flag away from build scripts, which run on this machine.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc --print host-tuple)" && \
    RUSTFLAGS="-C target-feature=+crt-static" \
      cargo build --locked --release --package slipway-controller --bin slipway --target "$target" && \
    install -D "target/$target/release/slipway" /root-of-image/slipway
RUN install -d /root-of-image/etc/ssl/certs && \
    echo 'nobody:x:65532:65532::/:/none' > /root-of-image/etc/passwd

FROM debian:bookworm-slim AS authorities
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates

FROM scratch
COPY --from=build /root-of-image /
# The HTTP client does not start without certificate authorities, not even for plain http.
COPY --from=authorities /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532
ENTRYPOINT ["/slipway"]

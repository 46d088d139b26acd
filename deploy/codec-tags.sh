#!/usr/bin/env bash
# Prints the -tags flag for the codecs in C that can be built here; nothing when
# there are none.
tags=()
if command -v cc >/dev/null && command -v pkg-config >/dev/null; then
	pkg-config --exists charls && tags+=(charls)
	pkg-config --exists libopenjp2 && tags+=(openjpeg)
fi
((${#tags[@]})) || exit 0
(IFS=, && echo "-tags=${tags[*]}")

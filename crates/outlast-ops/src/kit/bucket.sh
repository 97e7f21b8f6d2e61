#!/bin/sh
# usage: BUCKET PREFIX FOLDER; credentials and region as the aws program takes them,
# other providers by AWS_ENDPOINT_URL.
set -eu
bucket=$1 prefix=$2 folder=$3
tab=$(printf '\t')
aws s3api list-object-versions --bucket "$bucket" --prefix "$prefix" --output text \
    --query 'Versions[].[LastModified,Key,VersionId]' | sort > versions.txt
while IFS="$tab" read -r _ key version; do
    name=${key#"$prefix"}
    case $name in
    config) target=$folder/config ;;
    data/??/*) target=$folder/$name ;;
    data/*) hash=${name#data/}; target=$folder/data/$(printf '%.2s' "$hash")/$hash ;;
    keys/* | index/* | snapshots/*) target=$folder/$name ;;
    *) continue ;;
    esac
    [ -e "$target" ] && continue
    mkdir -p "$(dirname "$target")"
    aws s3api get-object --bucket "$bucket" --key "$key" --version-id "$version" "$target.part" > /dev/null || continue
    if [ "$name" = config ] || [ "$(sha256sum < "$target.part" | cut -c 1-64)" = "${name##*/}" ]; then
        mv "$target.part" "$target"
    else
        rm "$target.part"
    fi
done < versions.txt
mkdir -p "$folder/locks"

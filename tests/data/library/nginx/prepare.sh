# What nginx serves, and where it writes.
cd /work
mkdir -p cache dav log www/folder
head -c 3000000 /dev/zero | tr '\0' x >www/big
echo works | tee www/index.html www/page.html >/dev/null
yes text | head -n 1000 >www/folder/text.html
ln -s page.html www/link
chown 65535 cache dav

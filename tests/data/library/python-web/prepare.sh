# What the server serves.
cd /work
mkdir folder
echo works >index.html
echo page >folder/page.html
head -c 3000000 /dev/zero | tr '\0' x >big
chmod 777 .

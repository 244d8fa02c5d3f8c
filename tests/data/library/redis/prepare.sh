# A configuration that Redis may write anew.
cp /conf/redis.conf /work/
chmod 666 /work/redis.conf

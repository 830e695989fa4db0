"""Data sets at scale: samples of many CTs in shards, made once, by one machine or many, whatever gets killed."""

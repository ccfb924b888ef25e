-- A stand-in for the extension `supabase_vault` on servers that do not have it: the same relations, functions, owners
-- and errors, over pgcrypto. For development and tests only; where the extension is available it is used instead.
--
-- Runs as the superuser `supabase_admin`, after platform.sql and before vault-grants.sql, in a session where
-- `vault.root_key_file` names a file with 32 random bytes that only the server's operating-system user may read.
--
-- Differs from the real one on purpose: create_secret never writes plaintext, and the nonce is not the cipher's own
-- (pgcrypto draws one per message) but is authenticated with the rest.

create schema vault;

create table vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text,
    description text not null default '',
    secret text not null,
    key_id uuid,
    nonce bytea,
    created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
create unique index secrets_name_idx on vault.secrets using btree (name) where name is not null;
comment on table vault.secrets is 'Table with encrypted `secret` column for storing sensitive information on disk.';

-- Keys -------------------------------------------------------------------------------------------------------------

-- The path of the key's file becomes part of the body, where only the owner can change it: a setting of the session's would
-- let anybody choose the key. Declared immutable, so that a session reads the file once and keeps the key in the plans of the
-- definer functions below, which nobody else can reach; the real one keeps it for the server's lifetime. Only those functions
-- may call it.
do $$
begin
    execute pg_catalog.format(
        'create function vault._root_key() returns bytea
            language plpgsql immutable
            as $body$ begin return pg_catalog.pg_read_binary_file(%L, 0, 32); end $body$',
        pg_catalog.current_setting('vault.root_key_file')
    );
end
$$;
revoke all on function vault._root_key() from public;

create function vault._cipher_key(root_key bytea) returns text
    language sql immutable
    return pg_catalog.encode(pg_catalog.sha256('vault/enc/'::bytea || root_key), 'hex');
revoke all on function vault._cipher_key(bytea) from public;

-- Binds a ciphertext to its row and nonce. Lengths go in too, so that no two inputs share an encoding.
create function vault._tag(root_key bytea, additional bytea, nonce bytea, ciphertext bytea) returns bytea
    language sql immutable
    return extensions.hmac(
        pg_catalog.int4send(pg_catalog.octet_length(additional)) || additional
            || pg_catalog.int4send(pg_catalog.octet_length(nonce)) || nonce || ciphertext,
        pg_catalog.sha256('vault/mac/'::bytea || root_key),
        'sha256'
    );
revoke all on function vault._tag(bytea, bytea, bytea, bytea) from public;

-- Cipher -----------------------------------------------------------------------------------------------------------

create function vault._crypto_aead_det_noncegen() returns bytea
    language plpgsql volatile set search_path = ''
as $$
begin
    return extensions.gen_random_bytes(16);
end
$$;
revoke all on function vault._crypto_aead_det_noncegen() from public;
alter table vault.secrets alter column nonce set default vault._crypto_aead_det_noncegen();

-- Message layout: 32 bytes of HMAC-SHA-256, then an OpenPGP message (AES-256; the passphrase is a random 256-bit key,
-- so that stretching it would only cost time). The key is handed in: it is a file, and a caller reads it once.
create function vault._encrypt(root_key bytea, message bytea, additional bytea, nonce bytea) returns bytea
    language plpgsql volatile
as $$
declare
    ciphertext constant bytea := extensions.pgp_sym_encrypt_bytea(
        message, vault._cipher_key(root_key), 's2k-mode=0, cipher-algo=aes256, compress-algo=0');
begin
    return vault._tag(root_key, additional, nonce, ciphertext) || ciphertext;
end
$$;
revoke all on function vault._encrypt(bytea, bytea, bytea, bytea) from public;

create function vault._crypto_aead_det_encrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea
    language plpgsql volatile security definer set search_path = ''
as $$
begin
    return vault._encrypt(vault._root_key(), message, additional, nonce);
end
$$;
revoke all on function vault._crypto_aead_det_encrypt(bytea, bytea, bigint, bytea, bytea) from public;

create function vault._is_authentic(root_key bytea, message bytea, additional bytea, nonce bytea) returns boolean
    language sql immutable
    return pg_catalog.substr(message, 1, 32)
        is not distinct from vault._tag(root_key, additional, nonce, pg_catalog.substr(message, 33));
revoke all on function vault._is_authentic(bytea, bytea, bytea, bytea) from public;

create function vault._crypto_aead_det_decrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea
    language plpgsql stable security definer set search_path = ''
as $$
declare
    root_key bytea;
begin
    if message is null then
        return null;
    end if;
    root_key := vault._root_key();
    if not vault._is_authentic(root_key, message, additional, nonce) then
        raise exception 'vault: invalid ciphertext' using errcode = 'data_exception';
    end if;
    return extensions.pgp_sym_decrypt_bytea(pg_catalog.substr(message, 33), vault._cipher_key(root_key));
end
$$;
revoke all on function vault._crypto_aead_det_decrypt(bytea, bytea, bigint, bytea, bytea) from public;

-- Interface --------------------------------------------------------------------------------------------------------

-- A plain view: only the rows, and only where the column is asked for, are decrypted.
create view vault.decrypted_secrets as
    select
        s.id,
        s.name,
        s.description,
        s.secret,
        convert_from(
            vault._crypto_aead_det_decrypt(
                message := decode(s.secret, 'base64'),
                additional := convert_to(s.id::text, 'utf8'),
                key_id := 0,
                nonce := s.nonce
            ),
            'utf8'
        ) as decrypted_secret,
        s.key_id,
        s.nonce,
        s.created_at,
        s.updated_at
    from vault.secrets as s;

create function vault.create_secret(
    new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
) returns uuid
    language plpgsql security definer set search_path = ''
as $$
declare
    new_id constant uuid := pg_catalog.gen_random_uuid();
    new_nonce constant bytea := extensions.gen_random_bytes(16);
    ciphertext constant bytea := vault._encrypt(
        vault._root_key(),
        pg_catalog.convert_to(new_secret, 'utf8'),
        pg_catalog.convert_to(new_id::text, 'utf8'),
        new_nonce
    );
begin
    insert into vault.secrets (id, name, description, nonce, secret)
    values (new_id, new_name, new_description, new_nonce, pg_catalog.encode(ciphertext, 'base64'));
    return new_id;
end
$$;
revoke all on function vault.create_secret(text, text, text, uuid) from public;

create function vault.update_secret(
    secret_id uuid,
    new_secret text default null,
    new_name text default null,
    new_description text default null,
    new_key_id uuid default null
) returns void
    language plpgsql security definer set search_path = ''
as $$
declare
    root_key constant bytea := vault._root_key();
    additional constant bytea := pg_catalog.convert_to(secret_id::text, 'utf8');
    row_nonce bytea;
    old_message bytea;
    new_message bytea;
begin
    select s.nonce, pg_catalog.decode(s.secret, 'base64') into row_nonce, old_message
    from vault.secrets as s where s.id = secret_id;
    if not found then
        return;
    end if;
    -- The real one reads the old value first, so a row that cannot be decrypted cannot be updated either.
    if not vault._is_authentic(root_key, old_message, additional, row_nonce) then
        raise exception 'vault: invalid ciphertext' using errcode = 'data_exception';
    end if;
    new_message := vault._encrypt(root_key, pg_catalog.convert_to(new_secret, 'utf8'), additional, row_nonce);

    update vault.secrets as s
    set
        secret = coalesce(pg_catalog.encode(new_message, 'base64'), s.secret),
        name = coalesce(new_name, s.name),
        description = coalesce(new_description, s.description),
        updated_at = pg_catalog.now()
    where s.id = secret_id;
end
$$;
revoke all on function vault.update_secret(uuid, text, text, text, uuid) from public;

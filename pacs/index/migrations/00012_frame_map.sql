-- +goose Up

-- pacs.FrameMap: where the frames of encapsulated pixel data are, when they are
-- more than a few. By itself, so that only who asks for frames reads it; and as
-- it is, because it does not shrink.
ALTER TABLE instance ADD COLUMN frame_map bytea;
ALTER TABLE instance ALTER COLUMN frame_map SET STORAGE EXTERNAL;

-- Until now it was JSON among the pixels. That is what it stays for what is there
-- already (pacs.LegacyFrameMap), in its new place.
UPDATE instance SET frame_map = convert_to(pixels->>'Fragments', 'UTF8'),
    pixels = pixels - 'Fragments' || jsonb_build_object('Mapped', jsonb_array_length(pixels->'Fragments'))
WHERE frames > 1 AND jsonb_typeof(pixels->'Fragments') = 'array' AND jsonb_array_length(pixels->'Fragments') > 1;

-- +goose Down
UPDATE instance SET pixels = pixels - 'Mapped' || jsonb_build_object('Fragments', convert_from(frame_map, 'UTF8')::jsonb)
WHERE frame_map IS NOT NULL AND get_byte(frame_map, 0) = 91;
ALTER TABLE instance DROP COLUMN frame_map;

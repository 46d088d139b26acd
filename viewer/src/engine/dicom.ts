/** A data set as DICOM JSON (PS3.18 F.2). */
export type DataSet = Record<string, { vr: string; Value?: unknown[]; BulkDataURI?: string }>;

/** The tags that the client reads, by their keyword (PS3.6). */
export const tag = {
  SOPClassUID: '00080016',
  SOPInstanceUID: '00080018',
  Modality: '00080060',
  LossyImageCompression: '00282110',
  SliceThickness: '00180050',
  ImagerPixelSpacing: '00181164',
  InstanceNumber: '00200013',
  PatientOrientation: '00200020',
  ImagePositionPatient: '00200032',
  ImageOrientationPatient: '00200037',
  NumberOfFrames: '00280008',
  SamplesPerPixel: '00280002',
  PhotometricInterpretation: '00280004',
  Rows: '00280010',
  Columns: '00280011',
  PixelSpacing: '00280030',
  WindowCenter: '00281050',
  WindowWidth: '00281051',
  RecommendedDisplayFrameRate: '00082144',
  FrameTime: '00181063',
  SharedFunctionalGroups: '52009229',
  PerFrameFunctionalGroups: '52009230',
  PlanePositionSequence: '00209113',
  PlaneOrientationSequence: '00209116',
  PixelMeasuresSequence: '00289110',
} as const;

export function text(ds: DataSet, key: string): string | undefined {
  const value = ds[key]?.Value?.[0];
  return value === undefined || value === null ? undefined : String(value);
}

export function numbers(ds: DataSet, key: string): number[] | undefined {
  const values = ds[key]?.Value;
  if (!values?.length) return undefined;
  const out = values.map(Number);
  return out.every(Number.isFinite) ? out : undefined;
}

export function number(ds: DataSet, key: string): number | undefined {
  return numbers(ds, key)?.[0];
}

export function items(ds: DataSet | undefined, key: string): DataSet[] {
  return (ds?.[key]?.Value as DataSet[] | undefined) ?? [];
}
